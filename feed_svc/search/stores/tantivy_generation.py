"""One index of tantivy in a folder of its own. Everything here blocks: call it on a thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tantivy

from feed_svc.search.store import Change, Document, Held, Hit, Key, Kind, Put, Remove, SetAuthorNames, SetPopularity
from feed_svc.search.stores.tantivy_query import build_query, build_schema, fields_of
from svc_kit.errors import unavailable

WRITER_HEAP_BYTES = 32_000_000
MOST_VIDEOS_OF_AUTHOR = 20_000


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is stored of a document; removed ones keep their version."""

    document: Document
    removed: bool = False


class Generation:
    """An index folder. Searches see what other processes wrote; writing takes the folder's lock at the first write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._schema = build_schema()
        self._index = tantivy.Index(self._schema, path=str(folder), reuse=True)
        self._index.config_reader("manual")
        self._writer: Any = None
        self._lock = threading.Lock()
        self._stamp = 0

    def write(self, changes: Sequence[Change]) -> None:
        """Apply changes in one commit; nothing changed: none. See `IndexWriter.write`."""
        with self._lock:
            before = self._entries(_keys_of(changes))
            after = dict(before)
            for change in changes:
                self._apply(change, before, after)
            changed = [entry for key, entry in after.items() if before.get(key) != entry]
            if changed:
                self._commit(changed)

    def _apply(self, change: Change, before: dict[Key, _Entry], after: dict[Key, _Entry]) -> None:
        match change:
            case Put(document):
                held = after.get(document.key)
                if held is None or held.document.version < document.version:
                    after[document.key] = _Entry(document)
            case Remove(key, version):
                held = after.get(key)
                if held is None or held.document.version < version:
                    after[key] = _Entry(Document(key, version), removed=True)
            case SetPopularity(key, popularity):
                held = after.get(key)
                if held is not None and not held.removed:
                    after[key] = _Entry(replace(held.document, popularity=popularity))
            case SetAuthorNames(author_id, names):
                for key, entry in self._of_author(author_id).items():
                    before.setdefault(key, entry)
                    after.setdefault(key, entry)
                for key, entry in list(after.items()):
                    document = entry.document
                    if document.author_id == author_id and document.key[0] is Kind.VIDEO and not entry.removed:
                        after[key] = _Entry(replace(document, author_names=names))

    def _commit(self, entries: Iterable[_Entry]) -> None:
        writer = self._open_writer()
        try:
            for entry in entries:
                key = _joined(entry.document.key)
                writer.delete_documents_by_term("key", key)
                writer.add_document(tantivy.Document.from_dict(_stored(entry, key), self._schema))
            writer.commit()
        except BaseException:
            writer.rollback()
            raise
        self._index.reload()

    def _open_writer(self) -> Any:
        if self._writer is None:
            try:
                self._writer = self._index.writer(heap_size=WRITER_HEAP_BYTES, num_threads=1)
            except ValueError as error:
                raise unavailable("Another process is writing the search index.") from error
        return self._writer

    def _entries(self, keys: Iterable[Key]) -> dict[Key, _Entry]:
        searcher = self._fresh_searcher()
        found = {}
        for key in dict.fromkeys(keys):
            query = tantivy.Query.term_query(self._schema, "key", _joined(key))
            hits = searcher.search(query, limit=1, count=False).hits
            if hits:
                found[key] = _entry(searcher.doc(hits[0][1])["body"][0])
        return found

    def _of_author(self, author_id: int) -> dict[Key, _Entry]:
        searcher = self._fresh_searcher()
        query = tantivy.Query.term_query(self._schema, "author", str(author_id))
        hits = searcher.search(query, limit=MOST_VIDEOS_OF_AUTHOR, count=False).hits
        entries = [_entry(searcher.doc(address)["body"][0]) for _, address in hits]
        return {entry.document.key: entry for entry in entries}

    def search(self, text: str, kinds: Sequence[Kind], limit: int, offset: int) -> list[Hit]:
        """See `SearchIndex.search`."""
        query = build_query(self._schema, text, kinds)
        if query is None:
            return []
        searcher = self._fresh_searcher()
        found = searcher.search(query, limit=limit, offset=offset, count=False, weight_by_field="tie").hits
        return [Hit(_entry(searcher.doc(address)["body"][0]).document.key, score) for score, address in found]

    def held(self, keys: Sequence[Key]) -> dict[Key, Held]:
        """See `SearchIndex.held`."""
        entries = self._entries(keys)
        return {key: Held(e.document.version, e.document.popularity) for key, e in entries.items() if not e.removed}

    def count(self) -> int:
        """See `SearchIndex.count`."""
        q = tantivy.Query
        kinds = [(tantivy.Occur.Should, q.term_query(self._schema, "kind", kind.value)) for kind in Kind]
        return int(self._fresh_searcher().search(q.boolean_query(kinds), limit=1).count)

    def _fresh_searcher(self) -> Any:
        # A commit replaces this file, whichever process makes it.
        stamp = (self.folder / "meta.json").stat().st_mtime_ns
        if stamp != self._stamp:
            self._index.reload()
            self._stamp = stamp
        return self._index.searcher()

    def close(self) -> None:
        """Give the writer's lock back."""
        with self._lock:
            if self._writer is not None:
                self._writer.wait_merging_threads()
                self._writer = None


def _keys_of(changes: Sequence[Change]) -> list[Key]:
    keys = []
    for change in changes:
        match change:
            case Put(document):
                keys.append(document.key)
            case Remove(key, _) | SetPopularity(key, _):
                keys.append(key)
    return keys


def _joined(key: Key) -> str:
    return f"{key[0].value}:{key[1]}"


def _stored(entry: _Entry, key: str) -> dict[str, Any]:
    body = {**asdict(entry.document), "removed": entry.removed}
    # A removed document has no kind to be found by.
    fields = {} if entry.removed else fields_of(entry.document)
    return {"tie": 0.0, **fields, "key": key, "body": json.dumps(body, ensure_ascii=False)}


def _entry(body: str) -> _Entry:
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
    return _Entry(document, values["removed"])
