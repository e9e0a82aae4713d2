"""Reads the YAML that `deploy/compose` is written in: block mappings and lists, flow ones, `|` texts, anchors, `<<`.

No YAML library is among the project's packages; Compose itself, where there is one, is asked as well. Anything that
this does not know raises ValueError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

_KEY = re.compile(r"(?P<key>[A-Za-z0-9_.<-]+):(?: +(?P<rest>\S.*))?$")
_ANCHOR = re.compile(r"&(?P<name>[\w-]+)(?: +(?P<rest>.*))?$")
_RESET = "!reset "


def load(path: Path) -> dict[str, Any]:
    """The document of a file."""
    reader = _Reader(path.read_text().splitlines())
    found = reader.block(0)
    if reader.lines:
        raise ValueError(f"{path.name}: not understood: {reader.lines[0]}")
    return dict(found)


class _Reader:
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.anchors: dict[str, Any] = {}

    def _next(self) -> tuple[int, str] | None:
        """Depth and text of the next line that says something."""
        while self.lines and (not self.lines[0].strip() or self.lines[0].lstrip().startswith("#")):
            self.lines.pop(0)
        if not self.lines:
            return None
        text = self.lines[0].strip()
        return len(self.lines[0]) - len(self.lines[0].lstrip()), text

    def block(self, depth: int) -> Any:
        found = self._next()
        if found is None or found[0] < depth:
            return None
        return self._list(found[0]) if found[1].startswith("- ") else self._mapping(found[0])

    def _list(self, depth: int) -> list[Any]:
        items: list[Any] = []
        while (found := self._next()) and found[0] == depth and found[1].startswith("- "):
            rest = found[1][2:].strip()
            if _KEY.match(rest) and not rest.startswith(("127.", "${")):
                # The item is a mapping that begins on the dash's line.
                self.lines[0] = " " * (depth + 2) + rest
                items.append(self._mapping(depth + 2))
            else:
                self.lines.pop(0)
                items.append(self._scalar(rest))
        return items

    def _mapping(self, depth: int) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        # Known under its name only when it is whole: it can't hold itself.
        while (found := self._next()) and found[0] == depth and (match := _KEY.match(found[1])):
            self.lines.pop(0)
            key, value = match["key"], self._value(match["rest"] or "", depth)
            if key == "<<":
                merged |= value
            elif key in own:
                raise ValueError(f"{key} comes twice")
            else:
                own[key] = value
        return merged | own

    def _value(self, rest: str, depth: int) -> Any:
        if match := _ANCHOR.match(rest):
            value = self._value(match["rest"] or "", depth)
            self.anchors[match["name"]] = value
            return value
        if rest == "|":
            return self._text(depth)
        if not rest or rest.startswith("#"):
            return self.block(depth + 1)
        return self._scalar(rest)

    def _text(self, depth: int) -> str:
        taken = []
        while self.lines and (not self.lines[0].strip() or len(self.lines[0]) - len(self.lines[0].lstrip()) > depth):
            taken.append(self.lines.pop(0))
        margin = min(len(line) - len(line.lstrip()) for line in taken if line.strip())
        return "\n".join(line[margin:] for line in taken).rstrip("\n") + "\n"

    def _scalar(self, text: str) -> Any:
        text = text.removeprefix(_RESET)
        if text.startswith("*"):
            return self.anchors[text[1:]]
        if text.startswith(("[", "{")):
            value, left = _flow(text)
            if left.strip():
                raise ValueError(f"not understood: {text}")
            return value
        return _plain(text)


def _flow(text: str) -> tuple[Any, str]:
    """A flow list or mapping, or one of its scalars, and what follows."""
    if text.startswith("["):
        return _sequence(text[1:], "]", list, lambda left: _flow(left))
    if text.startswith("{"):
        return _sequence(text[1:], "}", dict, _pair)
    if text.startswith('"'):
        value, end = json.JSONDecoder().raw_decode(text)
        return value, text[end:]
    match = re.match(r"[^,\]}]+", text)
    if match is None:
        raise ValueError(f"not understood: {text}")
    return _plain(match[0].strip()), text[match.end() :]


def _pair(text: str) -> tuple[tuple[str, Any], str]:
    key, _, left = text.partition(": ")
    value, left = _flow(left.lstrip())
    return (key.strip(), value), left


def _sequence(text: str, end: str, kind: Callable[[list[Any]], Any], one: Callable[[str], Any]) -> tuple[Any, str]:
    items = []
    left = text.lstrip()
    while not left.startswith(end):
        item, left = one(left)
        items.append(item)
        left = left.lstrip().removeprefix(",").lstrip()
    return kind(items), left[len(end) :]


def _plain(text: str) -> Any:
    if text.startswith('"'):
        return json.loads(text)
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isdecimal() else text
