"""How text becomes words that can be found: one folding for what is indexed and for what is asked."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from svc_kit.text import fold

MAX_WORD_CHARS = 48
MAX_QUERY_WORDS = 8

# Letters that decomposition leaves alone, as people type them without the right keyboard.
_PLAIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})
# Scripts whose accents are left out by people in a hurry; in others a mark is a vowel.
_ACCENTED = (("A", "\u024f"), ("\u0370", "\u04ff"), ("\u1e00", "\u1fff"))
# Scripts written without spaces: Thai and Lao, Myanmar, Khmer, kana, Han.
_UNSPACED = (
    *(("\u0e00", "\u0eff"), ("\u1000", "\u109f"), ("\u1780", "\u17ff"), ("\u3040", "\u30ff")),
    *(("\u3400", "\u4dbf"), ("\u4e00", "\u9fff"), ("\uf900", "\ufaff"), ("\U00020000", "\U0003ffff")),
)
_APOSTROPHES = "'\u2019\u02bc"
_JOINERS = "_.-" + _APOSTROPHES


@dataclass(frozen=True, slots=True)
class QueryWord:
    """One word that must be found."""

    text: str
    whole: bool = False
    """Neither a prefix nor a typo of it will do: a piece of an unspaced script, a symbol."""

    @property
    def typos(self) -> int:
        """How many edits away a match may be: none for short words, one from 4 letters on, two from 8."""
        return 0 if self.whole or len(self.text) < 4 else 1 if len(self.text) < 8 else 2


def plain(text: str) -> str:
    """`text` as it is compared: NFKC, casefolded, without the accents of Latin, Greek and Cyrillic."""
    kept: list[str] = []
    base = ""
    for char in unicodedata.normalize("NFD", fold(text)):
        if not unicodedata.combining(char):
            base = char
        elif _within(base, _ACCENTED):
            continue
        kept.append(char)
    return unicodedata.normalize("NFC", "".join(kept)).translate(_PLAIN)


def indexed_words(text: str) -> list[str]:
    """All words under which `text` is found, each once: its words, what `_`, `.` and `-` join as one word too, and
    single characters and pairs of unspaced scripts."""
    found: dict[str, None] = {}
    for chunk in plain(text).split():
        words = list(_words(chunk))
        for word in words:
            found.update(dict.fromkeys(_pieces(word.text) if word.whole else [word.text]))
        if len(words) > 1 and not any(word.whole for word in words) and all(_is_joined(char) for char in chunk):
            found[_cut("".join(word.text for word in words))] = None
    return list(found)


def query_words(text: str) -> list[QueryWord]:
    """The words asked for, in order; at most `MAX_QUERY_WORDS`."""
    asked: list[QueryWord] = []
    for chunk in plain(text).split():
        for word in _words(chunk):
            pairs = [word.text[i : i + 2] for i in range(len(word.text) - 1)] if word.whole else []
            asked += [QueryWord(pair, whole=True) for pair in pairs] or [word]
    return asked[:MAX_QUERY_WORDS]


def is_piece(word: str) -> bool:
    """Whether an indexed or asked word is found by equality alone: a piece of an unspaced script, a symbol."""
    return any(_within(char, _UNSPACED) or unicodedata.category(char) == "So" for char in word)


def squeezed(text: str) -> str:
    """The letters and digits of `text` without anything between them: `New York` and `new_york` are the same name."""
    return _cut("".join(word.text for chunk in plain(text).split() for word in _words(chunk)))


def _words(chunk: str) -> Iterator[QueryWord]:
    """Runs of one kind within a chunk without spaces: words, runs of an unspaced script, symbols."""
    run, unspaced = "", False
    for char in chunk:
        if char in _APOSTROPHES:
            continue
        category = unicodedata.category(char)
        is_word = category[0] in "LMN"
        kind = _within(char, _UNSPACED)
        if run and (not is_word or kind is not unspaced):
            yield QueryWord(_cut(run), whole=unspaced)
            run = ""
        if is_word:
            run, unspaced = run + char, kind
        elif category == "So":
            yield QueryWord(char, whole=True)
    if run:
        yield QueryWord(_cut(run), whole=unspaced)


def _pieces(run: str) -> list[str]:
    return [*run, *(run[i : i + 2] for i in range(len(run) - 1))]


def _is_joined(char: str) -> bool:
    return char in _JOINERS or char in "#@" or unicodedata.category(char)[0] in "LMN"


def _cut(word: str) -> str:
    return word[:MAX_WORD_CHARS]


def _within(char: str, ranges: tuple[tuple[str, str], ...]) -> bool:
    return any(first <= char <= last for first, last in ranges)
