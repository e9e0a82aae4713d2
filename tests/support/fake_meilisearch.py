"""A Meilisearch for tests where none runs: the endpoints that the adapter uses, over HTTP, with tasks in a queue.

It is strict where the real one is (unknown fields, ids, filters on what can't be filtered, wrong keys), and finds words
exactly, by prefix and by typo as it does. It does not segment text, split words, or look at positions.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.fake_meilisearch_search import NotFilterable, matches, search

KEY = "a-key-of-sixteen-letters"
NOW = "2026-01-01T00:00:00Z"
KNOWN_RULES = {"words", "typo", "proximity", "attribute", "sort", "exactness", "attributeRank", "wordPosition"}
SETTINGS: dict[str, Any] = {
    "searchableAttributes": ["*"],
    "filterableAttributes": [],
    "sortableAttributes": [],
    "rankingRules": ["words", "typo", "proximity", "attribute", "sort", "exactness"],
    "typoTolerance": {
        "enabled": True,
        "minWordSizeForTypos": {"oneTypo": 5, "twoTypos": 9},
        "disableOnWords": [],
        "disableOnAttributes": [],
    },
    "stopWords": [],
    "synonyms": {},
    "pagination": {"maxTotalHits": 1000},
    "distinctAttribute": None,
}
SEARCH_FIELDS = {"q", "filter", "matchingStrategy", "showRankingScore", "limit", "offset", "attributesToRetrieve"}


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.status = status
        self.code = code


class FakeIndex:
    """One index."""

    def __init__(self, primary_key: str | None) -> None:
        self.primary_key = primary_key
        self.settings: dict[str, Any] = json.loads(json.dumps(SETTINGS))
        self.documents: dict[str, dict[str, Any]] = {}


class FakeMeilisearch:
    """What the server holds. `version`: what it says it is."""

    def __init__(self, version: str = "1.36.0") -> None:
        self.version = version
        self.indexes: dict[str, FakeIndex] = {}
        self.tasks: list[dict[str, Any]] = []
        self._queue: SimpleQueue[tuple[dict[str, Any], Callable[[], None]] | None] = SimpleQueue()
        self._lock = threading.RLock()
        self.asked: list[str] = []
        """Method and path of every request."""
        self.may_work = threading.Event()
        """Cleared, tasks wait."""
        self.may_work.set()
        threading.Thread(target=self._work, daemon=True).start()

    # ---- Tasks --------------------------------------------------------------------------------------------------

    def enqueue(self, kind: str, index: str | None, work: Callable[[], None]) -> dict[str, Any]:
        with self._lock:
            task = {"uid": len(self.tasks), "indexUid": index, "status": "enqueued", "type": kind, "error": None}
            self.tasks.append(task | {"enqueuedAt": NOW})
            self._queue.put((self.tasks[-1], work))
        return {"taskUid": task["uid"], "indexUid": index, "status": "enqueued", "type": kind, "enqueuedAt": NOW}

    def _work(self) -> None:
        while (entry := self._queue.get()) is not None:
            task, work = entry
            self.may_work.wait()
            with self._lock:
                try:
                    work()
                    task["status"] = "succeeded"
                except ApiError as error:
                    task |= {"status": "failed", "error": {"code": error.code, "message": str(error)}}

    def stop(self) -> None:
        self.may_work.set()
        self._queue.put(None)

    # ---- Endpoints ----------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: Mapping[str, list[str]], body: Any) -> tuple[int, Any]:
        self.asked.append(f"{method} {path}")
        with self._lock:
            match [method, *path.strip("/").split("/")]:
                case ["GET", "health"]:
                    return 200, {"status": "available"}
                case ["GET", "version"]:
                    return 200, {"commitSha": "", "commitDate": NOW, "pkgVersion": self.version}
                case ["GET", "tasks"]:
                    return 200, {"results": self._tasks(query), "total": 0, "limit": 20, "from": 0, "next": None}
                case ["GET", "tasks", number]:
                    return 200, self.tasks[int(number)]
                case ["POST", "indexes"]:
                    return 202, self.enqueue("indexCreation", body["uid"], lambda: self._create(**body))
                case ["POST", "swap-indexes"]:
                    return 202, self.enqueue("indexSwap", None, lambda: self._swap(body))
                case ["POST", "multi-search"]:
                    return 200, {
                        "results": [self._search(dict(one)) for one in self._only(body, {"queries"})["queries"]]
                    }
                case [_, "indexes", uid, *rest]:
                    return self._of_index(method, uid, rest, body)
        raise ApiError(404, "not_found", path)

    def _of_index(self, method: str, uid: str, rest: list[str], body: Any) -> tuple[int, Any]:
        match [method, *rest]:
            case ["DELETE"]:
                return 202, self.enqueue("indexDeletion", uid, lambda: self._delete(uid))
            case ["POST", "documents"]:
                return 202, self.enqueue("documentAdditionOrUpdate", uid, lambda: self._add(uid, body))
            case ["PATCH", "settings"]:
                self._check_settings(body)
                return 202, self.enqueue("settingsUpdate", uid, lambda: self._set(uid, body))
            case ["GET"]:
                return 200, {"uid": uid, "primaryKey": self._index(uid).primary_key, "createdAt": NOW, "updatedAt": NOW}
            case ["GET", "settings"]:
                return 200, self._index(uid).settings
            case ["POST", "documents", "fetch"]:
                return 200, self._fetch(self._index(uid), self._only(body, {"filter", "fields", "limit", "offset"}))
        raise ApiError(404, "not_found")

    def _index(self, uid: str) -> FakeIndex:
        if uid not in self.indexes:
            raise ApiError(404, "index_not_found", f"Index `{uid}` not found.")
        return self.indexes[uid]

    def _only(self, body: dict[str, Any], known: set[str]) -> dict[str, Any]:
        if unknown := set(body) - known:
            raise ApiError(400, "bad_request", f"Unknown field `{min(unknown)}`")
        return body

    def _tasks(self, query: Mapping[str, list[str]]) -> list[dict[str, Any]]:
        indexes, statuses = ((query.get(name) or [""])[0].split(",") for name in ("indexUids", "statuses"))
        return [task for task in self.tasks if task["indexUid"] in indexes and task["status"] in statuses]

    def _create(self, uid: str, primaryKey: str | None = None) -> None:
        if uid in self.indexes:
            raise ApiError(409, "index_already_exists")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,400}", uid):
            raise ApiError(400, "invalid_index_uid")
        self.indexes[uid] = FakeIndex(primaryKey)

    def _delete(self, uid: str) -> None:
        self._index(uid)
        del self.indexes[uid]

    def _swap(self, pairs: list[dict[str, list[str]]]) -> None:
        for pair in pairs:
            one, other = pair["indexes"]
            self.indexes[one], self.indexes[other] = self._index(other), self._index(one)

    def _add(self, uid: str, documents: list[dict[str, Any]]) -> None:
        index = self.indexes.setdefault(uid, FakeIndex("id"))
        for document in documents:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,511}", str(document.get("id", ""))):
                raise ApiError(400, "invalid_document_id")
        for document in documents:
            index.documents.pop(document["id"], None)
            index.documents[document["id"]] = document

    def _check_settings(self, body: dict[str, Any]) -> None:
        self._only(body, set(SETTINGS))
        is_split = tuple(map(int, self.version.split(".")[:2])) >= (1, 36)
        for rule in body.get("rankingRules", ()):
            known = rule in KNOWN_RULES or re.fullmatch(r"\w+:(asc|desc)", rule)
            if not known or (rule in ("attributeRank", "wordPosition") and not is_split):
                raise ApiError(400, "invalid_settings_ranking_rules", rule)

    def _set(self, uid: str, body: dict[str, Any]) -> None:
        settings = self._index(uid).settings
        for name, value in body.items():
            settings[name] = {**settings[name], **value} if isinstance(value, dict) else value

    def _fetch(self, index: FakeIndex, body: dict[str, Any]) -> dict[str, Any]:
        try:
            found = [one for one in index.documents.values() if matches(one, body["filter"], index.settings)]
        except NotFilterable as error:
            raise ApiError(400, "invalid_document_filter", str(error)) from error
        start, limit = body.get("offset", 0), body.get("limit", 20)
        results = [{name: one[name] for name in body["fields"] if name in one} for one in found[start : start + limit]]
        return {"results": results, "offset": start, "limit": limit, "total": len(found)}

    def _search(self, body: dict[str, Any]) -> dict[str, Any]:
        index = self._index(body.pop("indexUid"))
        try:
            return search(index.documents.values(), index.settings, self._only(body, SEARCH_FIELDS))
        except NotFilterable as error:
            raise ApiError(400, "invalid_search_filter", str(error)) from error


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        try:
            self._authorise(parts.path)
            status, answer = self.server.held.answer(
                self.command, parts.path, parse_qs(parts.query), json.loads(raw) if raw else None
            )
        except ApiError as error:
            status, answer = error.status, {"message": str(error), "code": error.code, "type": "x", "link": ""}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = _handle

    def _authorise(self, path: str) -> None:
        given = self.headers.get("Authorization")
        if path == "/health":
            return
        if given is None:
            raise ApiError(401, "missing_authorization_header")
        if given != f"Bearer {KEY}":
            raise ApiError(403, "invalid_api_key", "The provided API key is invalid.")

    def log_message(self, *_: object) -> None:
        return


class _Server(ThreadingHTTPServer):
    held: FakeMeilisearch


@contextmanager
def fake_meilisearch(version: str = "1.36.0") -> Iterator[tuple[str, FakeMeilisearch]]:
    """Its URL, as the product's setting has it, and what it holds."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.held = FakeMeilisearch(version)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield f"meilisearch://:{KEY}@127.0.0.1:{server.server_address[1]}", server.held
    finally:
        server.shutdown()
        server.server_close()
        server.held.stop()
