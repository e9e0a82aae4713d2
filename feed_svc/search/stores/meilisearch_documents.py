"""What an index of Meilisearch holds, how it is set up, and how a search is asked of it.

Words are made by `words.py`, the same as for any engine, so that Meilisearch only has to split at spaces. Pieces of
scripts without spaces and symbols travel spelled in Latin letters, in attributes of their own without typos:
Meilisearch's own segmentation would cut them another way.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from feed_svc.search.entries import Entry, from_json, to_json
from feed_svc.search.store import Key, Kind
from feed_svc.search.words import indexed_words, is_piece, query_words, squeezed

SCHEMA_VERSION = 1
"""Part of an index's name: another layout begins with an empty index."""
MOST_HITS = 1000
"""Results beyond this number are not looked for."""
FROM_WORDS_MISSING = 3
"""Of so many words, one may be missing."""
SPLIT_RULE_MINOR = 36
"""From 1.36 on the rank of the attribute is a rule by itself; before, words near its beginning also came first."""

_SPELT = "abcdefghijklmnop"
_ATTRIBUTES = ("names", "name_pieces", "text", "text_pieces", "author_names", "author_pieces")
_PIECES = tuple(name for name in _ATTRIBUTES if name.endswith("_pieces"))
_NAMED = frozenset((Kind.USER, Kind.HASHTAG))


def settings(version: tuple[int, int]) -> dict[str, Any]:
    """Of an index, for this version of Meilisearch."""
    attribute = "attributeRank" if version >= (1, SPLIT_RULE_MINOR) else "attribute"
    return {
        "searchableAttributes": list(_ATTRIBUTES),
        "filterableAttributes": ["author", "id", "kind", "whole"],
        "rankingRules": ["words", "typo", attribute, "exactness", "popularity:desc", "created:desc"],
        "typoTolerance": {
            "enabled": True,
            "minWordSizeForTypos": {"oneTypo": 4, "twoTypos": 8},
            "disableOnAttributes": list(_PIECES),
            "disableOnWords": [],
        },
        "stopWords": [],
        "synonyms": {},
        "pagination": {"maxTotalHits": MOST_HITS},
    }


def same_settings(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether the index is set up as wanted; what we don't set does not count, nor does the order of sets."""
    for name, value in wanted.items():
        there = found.get(name)
        if isinstance(value, Mapping) and value:
            if not isinstance(there, Mapping) or not same_settings(there, value):
                return False
        elif name in ("filterableAttributes", "disableOnAttributes"):
            if not isinstance(there, list) or sorted(map(str, there)) != sorted(value):
                return False
        elif there != value:
            return False
    return True


# ---- Documents --------------------------------------------------------------------------------------------------


def document_id(key: Key) -> str:
    """A key as Meilisearch allows it: letters, digits and `-`."""
    kind, name = key
    plain = name if name.isascii() and name.isdigit() else hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
    return f"{kind.value}-{plain}"


def document(entry: Entry) -> dict[str, Any]:
    """An entry as it is indexed. A removed one has nothing to be found by, only its version."""
    held = entry.document
    stored = {"id": document_id(held.key), "key": [held.key[0].value, held.key[1]], "body": to_json(entry)}
    if entry.removed:
        return stored
    # A video is about its hashtags; it is not called so.
    names, texts = (held.names, ()) if held.key[0] is not Kind.VIDEO else ((), held.names)
    return {
        **stored,
        "kind": held.key[0].value,
        # As text: numbers in filters are floats, and ids are longer.
        "author": str(held.author_id),
        "whole": list(dict.fromkeys(filter(None, map(squeezed, names)))),
        **_words("name", "names", names),
        **_words("text", "text", [held.text, *texts]),
        **_words("author", "author_names", held.author_names),
        # In doublings, so that smaller differences leave it to the age.
        "popularity": round(math.log2(1 + max(0, held.popularity))),
        "created": held.created_at_ms,
    }


def entry_of(found: Mapping[str, Any]) -> Entry:
    """The entry of a document."""
    return from_json(found["body"])


def key_of(found: Mapping[str, Any]) -> Key:
    """The key of a document."""
    kind, name = found["key"]
    return Kind(kind), name


def _words(stem: str, attribute: str, texts: Iterable[str]) -> dict[str, str]:
    words = list(dict.fromkeys(word for text in texts for word in indexed_words(text)))
    return {
        attribute: " ".join(word for word in words if not is_piece(word)),
        f"{stem}_pieces": " ".join(_spelt(word) for word in words if is_piece(word)),
    }


def _spelt(piece: str) -> str:
    """Six letters a character, so that no piece begins another by accident."""
    return "".join(_SPELT[(ord(char) >> shift) & 15] for char in piece for shift in (20, 16, 12, 8, 4, 0))


# ---- Questions --------------------------------------------------------------------------------------------------


def quoted(value: str) -> str:
    """A value in a filter."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def among(attribute: str, values: Iterable[str]) -> str:
    """A filter for any of some values."""
    return f"{attribute} IN [{', '.join(map(quoted, values))}]"


def whole_names(text: str, kinds: Sequence[Kind]) -> dict[str, Any] | None:
    """The question for what is called exactly so; None where nothing can be."""
    name, named = squeezed(text), sorted(_NAMED.intersection(kinds))
    if not name or not named:
        return None
    return {"q": "", "filter": f"whole = {quoted(name)} AND {among('kind', named)}"}


def all_words(text: str, kinds: Sequence[Kind]) -> dict[str, Any] | None:
    """The question for what has all words; None for a text without any."""
    words = query_words(text)
    if not words or not kinds:
        return None
    return _ask([(word.text, word.whole) for word in words], kinds, is_last=True)


def one_missing(text: str, kinds: Sequence[Kind]) -> list[dict[str, Any]]:
    """The questions for what has all words but one, where one may be missing."""
    words = [(word.text, word.whole) for word in query_words(text)]
    if len(words) < FROM_WORDS_MISSING:
        return []
    last = len(words) - 1
    return [_ask(words[:i] + words[i + 1 :], kinds, is_last=i != last) for i in range(len(words))]


def _ask(words: Sequence[tuple[str, bool]], kinds: Sequence[Kind], *, is_last: bool) -> dict[str, Any]:
    text = " ".join(_spelt(word) if whole else word for word, whole in words)
    # The last word also matches as a prefix, unless a space follows it.
    end = "" if is_last and not words[-1][1] else " "
    return {
        "q": text + end,
        "filter": among("kind", sorted(set(kinds))),
        "matchingStrategy": "all",
        "showRankingScore": True,
    }


def best_first(answers: Iterable[Sequence[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """Answers to several questions as one."""

    def rank(found: Mapping[str, Any]) -> tuple[float, float, float]:
        return (-round(found["_rankingScore"], 6), -found["popularity"], -found["created"])

    return sorted((found for answer in answers for found in answer), key=rank)


def body_of(question: Mapping[str, Any], index: str, limit: int) -> dict[str, Any]:
    """A question as it is sent."""
    fields = ["key", "popularity", "created"]
    return {**question, "indexUid": index, "limit": limit, "attributesToRetrieve": fields}
