"""The list of trending: kept in memory for moments, paged from one list for each chain of tokens."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from feed_svc.settings import FeedSettings
from feed_svc.trending.scoring import Weights, score_at
from feed_svc.trending.store import Ranked, Snapshot, SnapshotCache, TrendingStore, VideoDirectory
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError
from svc_kit.paging import TokenSigner
from svc_kit.telemetry import log

LEAST_WINDOW, MOST_WINDOW = 30, 200
KEPT_SNAPSHOTS = 32


@dataclass(frozen=True, slots=True)
class Entry:
    """One trending video with its score now."""

    video_id: int
    score: float
    page_token: str


@dataclass(frozen=True, slots=True)
class TrendingPage:
    """Videos, best first, and whether more follow."""

    entries: Sequence[Entry]
    has_more: bool


class TrendingTop:
    """The list of now, at most `trending_refresh_s` old; when it can't be read, the last one. Also `TrendingSource` of
    the feeds."""

    def __init__(self, store: TrendingStore, clock: Clock, settings: FeedSettings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._weights = Weights.of(settings)
        self._latest: Snapshot | None = None
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def latest(self) -> Snapshot:
        """The list as a snapshot. One read at a time."""
        async with self._reading:
            fresh = self._clock.monotonic() < self._read_at + self._settings.trending_refresh_s
            if self._latest is None or not fresh:
                try:
                    self._latest = _snapshot(await self._store.top(self._settings.trending_entries))
                    self._read_at = self._clock.monotonic()
                except AppError as error:
                    if self._latest is None:
                        raise
                    log(__name__).warning("trending list is stale", error=str(error))
            return self._latest

    async def top(self, limit: int) -> Sequence[tuple[int, int, float]]:
        """Video id, author id and score now, best first."""
        entries = (await self.latest()).entries[:limit]
        return [(entry.video_id, entry.author_id, self.score(entry)) for entry in entries]

    def score(self, entry: Ranked) -> float:
        """Its score now, in whole views of just now."""
        return score_at(entry.rank, now_ms(self._clock), self._weights)


class TrendingQueries:
    """Reads of `TrendingService`."""

    def __init__(
        self,
        top: TrendingTop,
        snapshots: SnapshotCache,
        videos: VideoDirectory,
        signer: TokenSigner,
        settings: FeedSettings,
        clock: Clock,
    ) -> None:
        self._top = top
        self._snapshots = snapshots
        self._videos = videos
        self._signer = signer
        self._ttl_s = settings.trending_snapshot_ttl_s
        self._clock = clock
        self._kept: OrderedDict[str, tuple[Snapshot, float]] = OrderedDict()

    async def list_trending(self, caller: Caller, size: int, token: str) -> TrendingPage:
        """Public videos that the caller may see. Pages of one token chain come from one list, so none repeats; when
        that list is lost, the list of now goes on below the place of the token."""
        snapshot, start = await self._resume(token) if token else (await self._top.latest(), 0)
        found: list[Entry] = []
        window = min(MOST_WINDOW, max(LEAST_WINDOW, 2 * size))
        while start < len(snapshot.entries) and len(found) <= size:
            part = snapshot.entries[start : start + window]
            seen = await self._videos.visible(caller, [entry.video_id for entry in part])
            for place, entry in enumerate(part, start=start + 1):
                if entry.video_id in seen:
                    next_token = self._signer.seal(snapshot.snapshot_id, place, entry.rank, entry.video_id)
                    found.append(Entry(entry.video_id, self._top.score(entry), next_token))
            start += window
        if found:
            await self._keep(snapshot)
        return TrendingPage(found[:size], len(found) > size)

    async def _resume(self, token: str) -> tuple[Snapshot, int]:
        snapshot_id, place, rank, video_id = self._signer.open(token)
        snapshot = await self._find(snapshot_id)
        if snapshot is not None:
            return snapshot, place
        snapshot = await self._top.latest()
        below = (i for i, e in enumerate(snapshot.entries) if (e.rank, e.video_id) < (rank, video_id))
        return snapshot, next(below, len(snapshot.entries))

    async def _find(self, snapshot_id: str) -> Snapshot | None:
        if snapshot_id in self._kept:
            return self._kept[snapshot_id][0]
        try:
            return await self._snapshots.load(snapshot_id)
        except AppError as error:
            log(__name__).warning("trending snapshot can't be read", error=str(error))
            return None

    async def _keep(self, snapshot: Snapshot) -> None:
        """Keep what tokens now refer to, here and for other processes; again once half its time is over."""
        now = self._clock.monotonic()
        _, saved_at = self._kept.get(snapshot.snapshot_id, (snapshot, float("-inf")))
        if now > saved_at + self._ttl_s / 2:
            saved_at = now
            try:
                await self._snapshots.save(snapshot, self._ttl_s)
            except AppError as error:
                log(__name__).warning("trending snapshot is kept here alone", error=str(error))
        self._kept[snapshot.snapshot_id] = (snapshot, saved_at)
        self._kept.move_to_end(snapshot.snapshot_id)
        while len(self._kept) > KEPT_SNAPSHOTS:
            self._kept.popitem(last=False)


def _snapshot(entries: Sequence[Ranked]) -> Snapshot:
    digest = hashlib.blake2b(repr([(e.video_id, e.rank) for e in entries]).encode(), digest_size=9)
    return Snapshot(digest.hexdigest(), entries)
