"""The store's list of parts, taken apart by hand.

It is asked for every two seconds for each upload that somebody watches, and holds hundreds of parts; the client library
takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

_FIELDS: dict[str, Callable[[str], Any]] = {"PartNumber": int, "Size": int, "ETag": str, "ChecksumSHA256": str}


def take_parts(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Move the parts of a ListParts answer from its body to what the library will answer. A body that is none is left
    for the library to complain of."""
    if response_dict.get("status_code") != 200:
        return
    try:
        root = ElementTree.fromstring(response_dict["body"])
    except ElementTree.ParseError:
        return
    space = root.tag.rpartition("}")[0] + "}" if "}" in root.tag else ""
    found = root.findall(f"{space}Part")
    for part in found:
        root.remove(part)
    response_dict["body"] = ElementTree.tostring(root)
    customized_response_dict["Parts"] = [_part(part, len(space)) for part in found]


def _part(part: ElementTree.Element, skip: int) -> dict[str, Any]:
    fields = ((field.tag[skip:], field.text) for field in part)
    return {name: _FIELDS[name](text) for name, text in fields if text and name in _FIELDS}
