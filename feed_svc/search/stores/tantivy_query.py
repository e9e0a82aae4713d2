"""What an index of tantivy holds, and how a search is asked of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tantivy

from feed_svc.search.store import Document, Kind
from feed_svc.search.words import QueryWord, indexed_words, query_words, squeezed

SCHEMA_VERSION = 1
"""Part of a generation's folder name: another layout begins with an empty index."""

# A match in a field counts this much of a match in a name; the tiers below times these never overlap by popularity.
_FIELDS = (("names", 1.0), ("text", 0.8), ("author_names", 0.5))
_EXACT, _PREFIX, _TYPO, _PREFIX_TYPO, _TYPOS = 10.0, 7.0, 4.0, 3.0, 2.0
_WHOLE_NAME, _ALL_WORDS = 12.0, 20.0
_JOINED_WORDS = 4

# tantivy multiplies scores by log2(2 + tie): popularity and age together may move a score by a tenth, no more.
_MOST_POPULAR, _NEWEST = 0.12, 0.02
_EPOCH_MS, _SPAN_MS = 1_700_000_000_000, 1_000_000_000_000


def build_schema() -> Any:
    """The fields of a document."""
    builder = tantivy.SchemaBuilder()
    for name in ("key", "kind", "author"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    for name in ("names", "text", "author_names", "whole"):
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="basic")
    builder.add_text_field("body", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_float_field("tie", fast=True)
    return builder.build()


def fields_of(document: Document) -> dict[str, Any]:
    """A document's searchable fields."""
    kind, _ = document.key
    # A video is about its hashtags; it is not called so.
    names, texts = (document.names, ()) if kind is not Kind.VIDEO else ((), document.names)
    return {
        "kind": kind.value,
        "author": str(document.author_id),
        "names": _joined(names),
        "text": _joined([document.text, *texts]),
        "author_names": _joined(document.author_names),
        "whole": " ".join(dict.fromkeys(map(squeezed, names))),
        "tie": tie(document.popularity, document.created_at_ms),
    }


def _joined(texts: Sequence[str]) -> str:
    return " ".join(dict.fromkeys(word for text in texts for word in indexed_words(text)))


def tie(popularity: int, created_at_ms: int) -> float:
    """What decides among equally good matches: the magnitude of the popularity, then the age."""
    magnitude = min(1.0, math.log2(1 + max(0, popularity)) / 32)
    youth = min(1.0, max(0.0, (created_at_ms - _EPOCH_MS) / _SPAN_MS))
    # Popularity in doublings, so that smaller differences leave it to the age.
    return _MOST_POPULAR * round(magnitude * 32) / 32 + _NEWEST * youth


def build_query(schema: Any, text: str, kinds: Sequence[Kind]) -> Any | None:
    """The query of a search; None when nothing can be found."""
    words = query_words(text)
    if not words or not kinds:
        return None
    q, must, should = tantivy.Query, tantivy.Occur.Must, tantivy.Occur.Should
    parts = [_word(schema, w, is_last=i == len(words) - 1, typos=w.typos) for i, w in enumerate(words)]
    matches = _words(parts)
    name = squeezed(text)
    if 1 < len(words) <= _JOINED_WORDS:
        # `new york` is also how people write the name `newyork`.
        matches = q.disjunction_max_query([matches, _word(schema, QueryWord(name), is_last=True, typos=0)])
    wanted = q.boolean_query([(should, q.term_query(schema, "kind", kind.value)) for kind in kinds])
    exact = q.const_score_query(q.term_query(schema, "whole", name), _WHOLE_NAME)
    return q.boolean_query([(must, q.const_score_query(wanted, 0.0)), (must, matches), (should, exact)])


def _words(parts: Sequence[Any]) -> Any:
    """All words; of three or more one may be missing, at a price."""
    q, must, should = tantivy.Query, tantivy.Occur.Must, tantivy.Occur.Should
    if len(parts) < 3:
        return q.boolean_query([(must, part) for part in parts])
    most = q.boolean_query([(should, part) for part in parts], minimum_number_should_match=len(parts) - 1)
    every = q.const_score_query(q.boolean_query([(must, part) for part in parts]), _ALL_WORDS)
    return q.boolean_query([(must, most), (should, every)])


def _word(schema: Any, word: QueryWord, *, is_last: bool, typos: int) -> Any:
    """The best of the ways in which a word may match, in any field; each way has a score of its own."""
    q = tantivy.Query
    forms = []
    for field, weight in _FIELDS:
        found = [(q.term_query(schema, field, word.text), _EXACT)]
        if is_last and not word.whole:
            found.append((q.fuzzy_term_query(schema, field, word.text, distance=0, prefix=True), _PREFIX))
        for distance in range(1, typos + 1):
            score = _TYPO if distance == 1 else _TYPOS
            found.append((q.fuzzy_term_query(schema, field, word.text, distance=distance), score))
            if is_last:
                score = _PREFIX_TYPO if distance == 1 else _TYPOS - 0.5
                found.append((q.fuzzy_term_query(schema, field, word.text, distance=distance, prefix=True), score))
        forms += [q.const_score_query(query, score * weight) for query, score in found]
    return q.disjunction_max_query(forms)
