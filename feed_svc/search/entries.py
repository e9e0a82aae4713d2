"""What an index keeps of a document, and what changes make of it: the same for every engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from feed_svc.search.store import Change, Document, Key, Kind, Put, Remove, SetAuthorNames, SetPopularity


@dataclass(frozen=True, slots=True)
class Entry:
    """A document as it is kept; a removed one stays for its version."""

    document: Document
    removed: bool = False


Entries = MutableMapping[Key, Entry]


def touched_keys(changes: Sequence[Change]) -> list[Key]:
    """The documents that changes name, each once."""
    keys: dict[Key, None] = {}
    for change in changes:
        match change:
            case Put(document):
                keys[document.key] = None
            case Remove(key, _) | SetPopularity(key, _):
                keys[key] = None
    return list(keys)


def renamed_authors(changes: Sequence[Change]) -> list[int]:
    """Authors whose videos all change."""
    return list(dict.fromkeys(change.author_id for change in changes if isinstance(change, SetAuthorNames)))


def changed(held: Mapping[Key, Entry], changes: Sequence[Change]) -> dict[Key, Entry]:
    """What must be written so that `changes` have happened in order. `held`: all there is of `touched_keys` and of the
    videos of `renamed_authors`."""
    after: Entries = dict(held)
    for change in changes:
        _apply(change, after)
    return {key: entry for key, entry in after.items() if held.get(key) != entry}


def _apply(change: Change, after: Entries) -> None:
    match change:
        case Put(document):
            held = after.get(document.key)
            if held is None or held.document.version < document.version:
                after[document.key] = Entry(document)
        case Remove(key, version):
            held = after.get(key)
            if held is None or held.document.version < version:
                after[key] = Entry(Document(key, version), removed=True)
        case SetPopularity(key, popularity):
            held = after.get(key)
            if held is not None and not held.removed:
                after[key] = Entry(replace(held.document, popularity=popularity))
        case SetAuthorNames(author_id, names):
            for key, entry in list(after.items()):
                document = entry.document
                if document.author_id == author_id and document.key[0] is Kind.VIDEO and not entry.removed:
                    after[key] = Entry(replace(document, author_names=names))


def to_json(entry: Entry) -> str:
    """An entry as text."""
    return json.dumps({**asdict(entry.document), "removed": entry.removed}, ensure_ascii=False)


def from_json(body: str) -> Entry:
    """An entry from its text."""
    values: Mapping[str, Any] = json.loads(body)
    kind, name = values["key"]
    document = Document(
        key=(Kind(kind), name),
        version=values["version"],
        names=tuple(values["names"]),
        text=values["text"],
        author_id=values["author_id"],
        author_names=tuple(values["author_names"]),
        popularity=values["popularity"],
        created_at_ms=values["created_at_ms"],
    )
    return Entry(document, values["removed"])
