"""One index of tantivy in a folder of its own. Everything here blocks: call it on a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tantivy

from feed_svc.search.entries import Entry, changed, from_json, renamed_authors, to_json, touched_keys
from feed_svc.search.store import Change, Held, Hit, Key, Kind
from feed_svc.search.stores.tantivy_query import build_query, build_schema, fields_of
from svc_kit.errors import unavailable

WRITER_HEAP_BYTES = 32_000_000
MOST_VIDEOS_OF_AUTHOR = 20_000
LOCK_WAIT_S = 5.0
LOCK_POLL_S = 0.02


class Generation:
    """An index folder. Searches see what other processes wrote; writing takes the folder's lock at the first write."""

    def __init__(self, folder: Path, *, known: bool = False) -> None:
        """`known`: it is there already, else FileNotFoundError."""
        if known:
            (folder / "meta.json").stat()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._schema = build_schema()
        self._index = tantivy.Index(self._schema, path=str(folder), reuse=True)
        self._index.config_reader("manual")
        self._writer: Any = None
        self._lock = threading.Lock()
        self._stamp = 0

    @property
    def has_writer(self) -> bool:
        """Whether this process holds the folder's lock."""
        return self._writer is not None

    def hold(self) -> None:
        """Take the folder's lock, which `close` gives back. Raises UNAVAILABLE when another process keeps it."""
        with self._lock:
            self._open_writer()

    def write(self, changes: Sequence[Change]) -> None:
        """Apply changes in one commit; nothing changed: none. See `IndexWriter.write`."""
        with self._lock:
            # Versions are compared under the lock: another process may have written until it was had.
            self._open_writer()
            held = self._entries(touched_keys(changes))
            for author_id in renamed_authors(changes):
                held |= self._of_author(author_id)
            entries = changed(held, changes)
            if entries:
                self._commit(entries.values())

    def _commit(self, entries: Iterable[Entry]) -> None:
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
        until = time.monotonic() + LOCK_WAIT_S
        while self._writer is None:
            try:
                self._writer = self._index.writer(heap_size=WRITER_HEAP_BYTES, num_threads=1)
            except ValueError as error:
                if time.monotonic() > until:
                    raise unavailable("Another process is writing the search index.") from error
                time.sleep(LOCK_POLL_S)
        return self._writer

    def _entries(self, keys: Iterable[Key]) -> dict[Key, Entry]:
        searcher = self._fresh_searcher()
        found = {}
        for key in dict.fromkeys(keys):
            query = tantivy.Query.term_query(self._schema, "key", _joined(key))
            hits = searcher.search(query, limit=1, count=False).hits
            if hits:
                found[key] = from_json(searcher.doc(hits[0][1])["body"][0])
        return found

    def _of_author(self, author_id: int) -> dict[Key, Entry]:
        searcher = self._fresh_searcher()
        query = tantivy.Query.term_query(self._schema, "author", str(author_id))
        hits = searcher.search(query, limit=MOST_VIDEOS_OF_AUTHOR, count=False).hits
        entries = [from_json(searcher.doc(address)["body"][0]) for _, address in hits]
        return {entry.document.key: entry for entry in entries}

    def search(self, text: str, kinds: Sequence[Kind], limit: int, offset: int) -> list[Hit]:
        """See `SearchIndex.search`."""
        query = build_query(self._schema, text, kinds)
        if query is None:
            return []
        searcher = self._fresh_searcher()
        found = searcher.search(query, limit=limit, offset=offset, count=False, weight_by_field="tie").hits
        return [Hit(from_json(searcher.doc(address)["body"][0]).document.key, score) for score, address in found]

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


def _joined(key: Key) -> str:
    return f"{key[0].value}:{key[1]}"


def _stored(entry: Entry, key: str) -> dict[str, Any]:
    # A removed document has no kind to be found by.
    fields = {} if entry.removed else fields_of(entry.document)
    return {"tie": 0.0, **fields, "key": key, "body": to_json(entry)}
