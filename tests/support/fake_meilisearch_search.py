"""How the fake Meilisearch finds documents: words, prefixes, typos and joined words, and the order of its rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Settings = Mapping[str, Any]
Found = Mapping[str, Any]
MOST_JOINED = 3


class NotFilterable(Exception):
    """A filter that can't be understood or names what can't be filtered."""


@dataclass(frozen=True, order=True)
class Match:
    """How a query matches a document; the least is the best."""

    typos: int
    attribute: int
    inexact: int

    def __add__(self, other: Match) -> Match:
        return Match(self.typos + other.typos, self.attribute + other.attribute, self.inexact + other.inexact)


NOTHING = Match(0, 0, 0)


def search(documents: Iterable[Found], settings: Settings, body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of one search; every word must match."""
    if body.get("matchingStrategy", "all") != "all":
        raise NotImplementedError(body["matchingStrategy"])
    text = body.get("q") or ""
    words, is_prefix = text.split(), not text.endswith(" ")
    found = []
    for document in documents:
        if matches(document, body.get("filter"), settings):
            match = _best(words, 0, is_prefix, _fields(document, settings), settings) if words else NOTHING
            if match is not None:
                found.append((match, _custom(document, settings["rankingRules"]), document))
    found.sort(key=lambda one: one[:2])
    most = settings["pagination"]["maxTotalHits"]
    start = body.get("offset", 0)
    page = found[: min(start + body.get("limit", 20), most)][start:]
    return {"hits": [_hit(match, document, body) for match, _, document in page], "estimatedTotalHits": len(found)}


def _hit(match: Match, document: Found, body: Mapping[str, Any]) -> dict[str, Any]:
    hit = {name: document[name] for name in body.get("attributesToRetrieve", document) if name in document}
    if body.get("showRankingScore"):
        hit["_rankingScore"] = 1 - match.typos * 1e-2 - match.attribute * 1e-4 - match.inexact * 1e-6
    return hit


def _custom(document: Found, rules: Iterable[str]) -> tuple[float, ...]:
    ordered = (rule.split(":") for rule in rules if ":" in rule)
    return tuple(document.get(name, 0) * (-1 if order == "desc" else 1) for name, order in ordered)


def _fields(document: Found, settings: Settings) -> list[tuple[int, bool, list[str]]]:
    """(rank, whether typos count, words) of each searchable attribute."""
    exact = settings["typoTolerance"]["disableOnAttributes"]
    names = settings["searchableAttributes"]
    return [(i, name not in exact, str(document.get(name, "")).split()) for i, name in enumerate(names)]


def _best(
    words: list[str], at: int, is_prefix: bool, fields: list[tuple[int, bool, list[str]]], settings: Settings
) -> Match | None:
    """The best way in which the words from `at` on match, next ones joined or not."""
    if at == len(words):
        return NOTHING
    ways = []
    for count in range(1, min(MOST_JOINED, len(words) - at) + 1):
        rest = _best(words, at + count, is_prefix, fields, settings)
        joined = "".join(words[at : at + count])
        is_last = at + count == len(words)
        one = _word(joined, count, is_prefix and is_last, fields, settings) if rest is not None else None
        if one is not None and rest is not None:
            ways.append(one + rest)
    return min(ways, default=None)


def _word(
    word: str, count: int, is_prefix: bool, fields: list[tuple[int, bool, list[str]]], settings: Settings
) -> Match | None:
    sizes = settings["typoTolerance"]["minWordSizeForTypos"]
    allowed = (len(word) >= sizes["oneTypo"]) + (len(word) >= sizes["twoTypos"]) - (count - 1)
    ways = []
    for rank, typos_count, held in fields:
        for candidate in held:
            typos = _typos(word, candidate, is_prefix, max(allowed, 0) if typos_count else 0)
            if typos is not None:
                ways.append(Match(typos + count - 1, rank, int(candidate != word)))
    return min(ways, default=None)


def _typos(word: str, candidate: str, is_prefix: bool, allowed: int) -> int | None:
    if candidate == word or (is_prefix and candidate.startswith(word)):
        return 0
    if not allowed or (abs(len(word) - len(candidate)) > allowed and not is_prefix):
        return None
    ends = range(len(word) - allowed, len(word) + allowed + 1) if is_prefix else [len(candidate)]
    found = min(distance(word, candidate[:end]) for end in ends)
    # A wrong first letter counts for two.
    cost = found + 1 if candidate[:1] != word[:1] else found
    return cost if cost <= allowed else None


def distance(one: str, other: str) -> int:
    """Edits between two words; exchanging neighbours is one."""
    rows = [list(range(len(other) + 1))]
    for i, a in enumerate(one, start=1):
        row = [i]
        for j, b in enumerate(other, start=1):
            cost = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]


# ---- Filters ----------------------------------------------------------------------------------------------------

_CONDITION = re.compile(r'\s*(\w+) (?:= ("(?:[^"\\]|\\.)*")|IN (\[(?:"(?:[^"\\]|\\.)*"(?:, )?)*\]))\s*(AND|$)')


def matches(document: Found, expression: str | None, settings: Settings) -> bool:
    """Whether a document passes a filter: `a = "b"` and `a IN ["b", "c"]`, joined by AND."""
    at = 0
    while expression and at < len(expression):
        found = _CONDITION.match(expression, at)
        if not found:
            raise NotFilterable(expression[at : at + 100])
        name, one, several, _ = found.groups()
        if name not in settings["filterableAttributes"]:
            raise NotFilterable(f"Attribute `{name}` is not filterable.")
        wanted = json.loads(several) if several else [json.loads(one)]
        held = document.get(name, [])
        values = held if isinstance(held, list) else [held]
        if not any(str(value).casefold() in {str(one).casefold() for one in wanted} for value in values):
            return False
        at = found.end()
    return True
