"""Names, hashtags and mentions: how they are compared, and how they are found in text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

MAX_HASHTAG_CHARS = 100


def fold(text: str) -> str:
    """`text` as it is compared: NFKC, casefold, NFKC again (casefolding may undo the first)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def name_key(username: str) -> str:
    """The key by which user names are unique and looked up."""
    return fold(username)


def visible(text: str) -> bool:
    """Whether a person sees anything of it: not only spaces, formatting and marks that draw nothing."""
    return any(unicodedata.category(c) not in _BLANK_CATEGORIES and c not in _INVISIBLE for c in text)


def is_name_char(char: str) -> bool:
    """Whether a user name may hold it: a letter (with its marks), a digit, `_` or `.`."""
    return char in "_." or _is_word_char(char)


def normalise_hashtag(hashtag: str) -> str | None:
    """A hashtag as it is stored, without `#`: letters, digits and `_`, 1 to 100 characters; None when it is not one."""
    folded = fold(hashtag.strip().lstrip("#＃"))
    if not 1 <= len(folded) <= MAX_HASHTAG_CHARS or not all(c == "_" or _is_word_char(c) for c in folded):
        return None
    return folded


def hashtags_of(caption: str) -> tuple[str, ...]:
    """The normalised hashtags of a caption, each once, in order."""
    found = (normalise_hashtag(word) for word in _marked_words(caption, "#＃", "_"))
    return tuple(dict.fromkeys(tag for tag in found if tag is not None))


def mentions_of(text: str) -> tuple[str, ...]:
    """User names mentioned as `@name`, as written, each account's once, in order. Whether they exist is for the caller
    to ask."""
    names: dict[str, str] = {}
    for word in _marked_words(text, "@＠", "_."):
        name = word.rstrip(".")
        if name:
            names.setdefault(name_key(name), name)
    return tuple(names.values())


def _marked_words(text: str, marks: str, punctuation: str) -> Iterator[str]:
    """Words after one of `marks`, unless the mark itself stands inside a word (an address, an anchor)."""
    position = 0
    while position < len(text):
        inside = position > 0 and (text[position - 1] in "_&/" or _is_word_char(text[position - 1]))
        if text[position] not in marks or inside:
            position += 1
            continue
        end = position + 1
        while end < len(text) and (text[end] in punctuation or _is_word_char(text[end])):
            end += 1
        if end > position + 1:
            yield text[position + 1 : end]
        position = end


def _is_word_char(char: str) -> bool:
    # Marks belong to their letter: without them most scripts of India could not be written.
    return unicodedata.category(char) in _WORD_CATEGORIES and char not in _INVISIBLE


_BLANK_CATEGORIES = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
# Letters and marks that draw nothing (Unicode's Default_Ignorable_Code_Point): a name with one would look like the
# name without it.
_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
_WORD_CATEGORIES = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd", "Nl", "No"})


def printable(text: str, *, lines: bool = False) -> bool:
    """Whether a person can read it: no control characters, but for line breaks where `lines` allows them."""
    return all(unicodedata.category(c) != "Cc" or (lines and c == "\n") for c in text)
