"""Where snapshots are kept: the cache, this process's memory, and durable pages of what was served."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from feed_svc.feeds.snapshot import Entry, Snapshot, pack, pack_entries, unpack, unpack_entries
from feed_svc.feeds.spool import Spool
from feed_svc.feeds.store import ClientHints, ServedPage, ServedStore, SnapshotStore, StoredSnapshot
from svc_kit.breaker import Breaker
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError
from svc_kit.telemetry import log

CACHE_DEADLINE_S = 0.25

_log = log(__name__)

# Another process may hold the same snapshot in memory, some saves further on but without what was served since the
# cache was lost. What was restored goes on from all that was served, so it must be the newer one.
RESTORED_AHEAD = 1_000_000


class Shelf:
    """Finds and saves snapshots. The cache decides between processes; without it, each goes on from its memory."""

    def __init__(
        self,
        store: SnapshotStore,
        breaker: Breaker,
        served: ServedStore,
        pages: Spool[ServedPage],
        clock: Clock,
        *,
        memory: int,
        ttl_s: int,
    ) -> None:
        self._store = store
        self._breaker = breaker
        self._served = served
        self._pages = pages
        self._clock = clock
        self._limit = memory
        self._ttl_ms = ttl_s * 1000
        self._memory: OrderedDict[tuple[str, str], StoredSnapshot] = OrderedDict()
        self._current: dict[str, str] = {}

    async def current(self, owner: str) -> Snapshot | None:
        """The owner's newest snapshot, unless its cursors have ended."""
        try:
            stored = await self._breaker.call(lambda: self._store.current(owner), deadline_s=CACHE_DEADLINE_S)
        except AppError:
            stored = None
        mine = self._memory.get((owner, self._current.get(owner, "")))
        if stored is None and mine is not None:
            return await self.find(owner, mine.snapshot_id)
        return self._valid(_newer(stored, mine) if _same(stored, mine) else stored)

    async def find(self, owner: str, snapshot_id: str) -> Snapshot | None:
        """One snapshot, from the cache, else from memory, joined by what is durable; None when it is gone."""
        mine = self._memory.get((owner, snapshot_id))
        try:
            stored = await self._breaker.call(lambda: self._store.get(owner, snapshot_id), deadline_s=CACHE_DEADLINE_S)
        except AppError:
            return self._valid(mine) or await self._restored(owner, snapshot_id, None)
        if stored is None:
            return await self._restored(owner, snapshot_id, self._valid(mine))
        return self._valid(_newer(stored, mine))

    async def save(self, after: Snapshot, before: Snapshot | None, *, current: bool = False) -> bool:
        """Save a changed snapshot; false when somebody else changed it first: find it again. What was added to the
        served part becomes durable soon after."""
        stored = StoredSnapshot(after.id, after.version, pack(after))
        expected = before.version if before else 0
        try:
            saved = await self._breaker.call(
                lambda: self._store.save(after.owner, stored, expected=expected, current=current),
                deadline_s=CACHE_DEADLINE_S,
            )
        except AppError:
            mine = self._memory.get((after.owner, after.id))
            saved = mine is None or mine.version == expected
        if saved:
            self._remember(after.owner, stored, current)
            self._persist(after, len(before.served) if before else 0)
        return saved

    def _persist(self, snapshot: Snapshot, first: int) -> None:
        added = snapshot.served[first:]
        if added:
            page = ServedPage(
                snapshot.owner,
                snapshot.id,
                first,
                pack_entries(added),
                tuple(entry.video_id for entry in added),
                now_ms(self._clock),
            )
            self._pages.put(page)

    async def served(self, owner: str, snapshot_id: str) -> tuple[Entry, ...]:
        """What is durably known to have been served by a snapshot that is gone, in its order."""
        return tuple(e for page in await self._durable(owner, snapshot_id) for e in unpack_entries(page.entries))

    async def _restored(self, owner: str, snapshot_id: str, mine: Snapshot | None) -> Snapshot | None:
        """Memory may be behind what another process served before the cache was lost."""
        served = _contiguous(await self._durable(owner, snapshot_id))
        if mine is not None and len(mine.served) >= len(served):
            return mine
        if not served:
            return None
        now = now_ms(self._clock)
        if mine is None:
            mine = Snapshot(snapshot_id, owner, now, now, ClientHints(), -1, 0, -1, 0, 0)
        gone = {entry.video_id for entry in served}
        return replace(
            mine,
            version=max(now, mine.version) + RESTORED_AHEAD,
            served=served,
            tail=tuple(entry for entry in mine.tail if entry.video_id not in gone),
        )

    async def _durable(self, owner: str, snapshot_id: str) -> Sequence[ServedPage]:
        try:
            return await self._served.of_snapshot(owner, snapshot_id)
        except AppError:
            return ()

    def _valid(self, stored: StoredSnapshot | None) -> Snapshot | None:
        if stored is None:
            return None
        try:
            snapshot = unpack(stored.data)
        except (ValueError, KeyError):
            _log.warning("snapshot of another format left out", snapshot=stored.snapshot_id)
            return None
        if now_ms(self._clock) - snapshot.created_at_ms > self._ttl_ms:
            return None
        self._remember(snapshot.owner, stored, current=False)
        return snapshot

    def _remember(self, owner: str, stored: StoredSnapshot, current: bool) -> None:
        key = (owner, stored.snapshot_id)
        self._memory[key] = stored
        self._memory.move_to_end(key)
        if current:
            self._current[owner] = stored.snapshot_id
        while len(self._memory) > self._limit:
            (oldest, snapshot_id), _ = self._memory.popitem(last=False)
            if self._current.get(oldest) == snapshot_id:
                del self._current[oldest]


def _same(one: StoredSnapshot | None, other: StoredSnapshot | None) -> bool:
    return one is not None and other is not None and one.snapshot_id == other.snapshot_id


def _newer(stored: StoredSnapshot | None, mine: StoredSnapshot | None) -> StoredSnapshot | None:
    """Memory is ahead of the cache only after saves that the cache missed."""
    if stored is None or mine is None:
        return stored or mine
    return mine if mine.version > stored.version else stored


def _contiguous(pages: Sequence[ServedPage]) -> tuple[Entry, ...]:
    served: list[Entry] = []
    for page in pages:
        if page.first_position == len(served):
            served += unpack_entries(page.entries)
    return tuple(served)
