"""What names and profiles may hold."""

from __future__ import annotations

from collections.abc import Sequence

from svc_kit.errors import UserCode, Violation, invalid, invalid_all
from svc_kit.text import MAX_HASHTAG_CHARS, fold, is_name_char, normalise_hashtag, printable, visible

MIN_NAME_CHARS, MAX_NAME_CHARS = 3, 30
MAX_KEY_CHARS = 250


def username(name: str) -> None:
    """Raise on `username` unless it has 3 to 30 letters, digits, `_` or `.`, as written and as compared."""
    if len(name) < MIN_NAME_CHARS:
        message = f"username must have at least {MIN_NAME_CHARS} characters; it has {len(name)}."
        raise invalid("username", message, UserCode.TOO_SHORT)
    if len(name) > MAX_NAME_CHARS:
        message = f"username must have at most {MAX_NAME_CHARS} characters; it has {len(name)}."
        raise invalid("username", message, UserCode.TOO_LONG)
    # Some single letters stand for whole phrases in compatibility form.
    if not all(map(is_name_char, name + fold(name))) or len(fold(name)) > MAX_KEY_CHARS:
        raise invalid("username", f"username may hold only letters, digits, `_` and `.`; it is {name!r}.")
    if not any(map(str.isalnum, name)):
        raise invalid("username", f"username must have at least 1 letter or digit; it is {name!r}.")


def display_name(name: str) -> str:
    """The name without space around it; raises on `display_name` when nothing is left or it can't be read."""
    stripped = name.strip()
    if not visible(stripped):
        raise invalid(
            "display_name", "display_name must have at least 1 character that can be seen.", UserCode.TOO_SHORT
        )
    if not printable(stripped):
        raise invalid("display_name", "display_name must not hold control characters.")
    return stripped


def bio(text: str) -> str:
    """The text without space around it; raises on `bio` when it can't be read."""
    stripped = text.strip()
    if not printable(stripped, lines=True):
        raise invalid("bio", "bio must not hold control characters.")
    return stripped


def device(name: str) -> str:
    """A client's own word for its device, without what can't be read: a hint never fails a log-in."""
    return "".join(c for c in name if printable(c)).strip()


def hashtags(written: Sequence[str]) -> list[str]:
    """Normalised, each once, in order; raises naming every one that is not a hashtag."""
    found: dict[str, None] = {}
    wrong = []
    for index, text in enumerate(written):
        tag = normalise_hashtag(text)
        if tag is None:
            rule = f"must have 1 to {MAX_HASHTAG_CHARS} letters, digits or `_`"
            message = f"hashtags.{index} {rule}; it is {text[:MAX_HASHTAG_CHARS]!r}."
            wrong.append(Violation(f"hashtags.{index}", message, UserCode.INVALID))
        else:
            found[tag] = None
    if wrong:
        raise invalid_all(wrong)
    return list(found)
