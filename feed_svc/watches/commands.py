"""Recording watches: each watch id once, in the log, the history and the event, in one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from feed_svc.feeds.cursors import Cursors
from feed_svc.feeds.store import VideoDirectory, VideoFacts
from feed_svc.settings import FeedSettings
from feed_svc.watches.plausible import judge
from feed_svc.watches.store import WatchLog, WatchRow
from reelgraph.events.v1.watch_pb2 import WatchRecorded
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError, UserCode
from svc_kit.uow import UnitOfWork, idempotent

MAX_WATCHED_MS = 2**53


@dataclass(frozen=True, slots=True)
class ReportedWatch:
    """A watch as the client reports it."""

    watch_id: str
    video_id: int
    watched_ms: int
    completed: bool = False
    skipped: bool = False
    edge_cursor: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A watch that does not count."""

    index: int
    field: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RecordResult:
    """How many stand, and what is wrong with the others."""

    accepted_count: int
    rejected: list[Rejection] = field(default_factory=list)


class _Bad(Exception):
    def __init__(self, field_name: str, code: UserCode, message: str) -> None:
        super().__init__(message)
        self.field, self.code, self.message = field_name, code, message


class WatchCommands:
    """`acted` is told the viewer after a commit that changed something: their feed is ranked anew."""

    def __init__(
        self,
        log: WatchLog,
        videos: VideoDirectory,
        cursors: Cursors,
        replies: UnitOfWork,
        settings: FeedSettings,
        clock: Clock,
        *,
        acted: Callable[[int], None],
    ) -> None:
        self.replies = replies
        self._log = log
        self._videos = videos
        self._cursors = cursors
        self._settings = settings
        self._clock = clock
        self._acted = acted

    @idempotent
    async def record_watches(self, caller: Caller, watches: Sequence[ReportedWatch]) -> RecordResult:
        """Record a batch. A bad watch is named in the result; the others count, those recorded before among them."""
        viewer = caller.viewer()
        ids, rejected = _canonical_ids(watches)
        known = await self._log.known(viewer, sorted(set(ids.values()))) if ids else frozenset()
        wanted = [watches[i].video_id for i, watch_id in ids.items() if watch_id not in known]
        facts = await self._videos.visible(viewer, sorted({v for v in wanted if v > 0})) if wanted else {}
        rows: dict[str, WatchRow] = {}
        accepted = 0
        for index, watch_id in ids.items():
            try:
                if watch_id not in known and watch_id not in rows:
                    rows[watch_id] = self._row(viewer, watch_id, watches[index], facts, index - len(watches) + 1)
                accepted += 1
            except _Bad as bad:
                rejected.append(Rejection(index, bad.field, bad.code.value, bad.message))
        result = RecordResult(accepted, sorted(rejected, key=lambda r: r.index))
        return await self._store(caller, list(rows.values()), result)

    async def _store(self, caller: Caller, rows: Sequence[WatchRow], result: RecordResult) -> RecordResult:
        if not rows and not caller.idempotency_key:
            return result
        async with self._log.begin(caller) as tx:
            for row in rows:
                if await tx.add(row):
                    tx.emit(
                        entity=f"watch:{row.user_id}:{row.watch_id}",
                        version=1,
                        actor_id=row.user_id,
                        watch_recorded=_event(row),
                    )
            await tx.reply(result)
        if rows:
            self._acted(caller.user_id)
        return result

    def _row(
        self, viewer: int, watch_id: str, watch: ReportedWatch, facts: dict[int, VideoFacts], offset_ms: int
    ) -> WatchRow:
        if not 0 <= watch.watched_ms <= MAX_WATCHED_MS:
            message = f"watched_ms must be 0 to {MAX_WATCHED_MS}; it is {watch.watched_ms}."
            raise _Bad("watched_ms", UserCode.INVALID, message)
        video = facts.get(watch.video_id)
        if video is None:
            raise _Bad("video_id", UserCode.NOT_FOUND, "There is no such video.")
        snapshot_id, position = self._place(viewer, watch)
        # Later in the batch is watched later: the order of the history tells them apart.
        now = now_ms(self._clock)
        judged = judge(
            watch.watched_ms,
            duration_ms=video.duration_ms,
            age_ms=max(0, now - video.created_at_ms),
            completed_hint=watch.completed,
            skipped_hint=watch.skipped,
            settings=self._settings,
        )
        return WatchRow(
            user_id=viewer,
            watch_id=watch_id,
            video_id=video.video_id,
            author_id=video.author_id,
            watched_ms=judged.watched_ms,
            duration_ms=video.duration_ms,
            completed=judged.completed,
            skipped=judged.skipped,
            snapshot_id=snapshot_id,
            position=position,
            hashtags=video.hashtags,
            at_ms=now + offset_ms,
        )

    def _place(self, viewer: int, watch: ReportedWatch) -> tuple[str, int]:
        if not watch.edge_cursor:
            return "", -1
        try:
            place = self._cursors.open_any(watch.edge_cursor, viewer)
        except AppError as error:
            raise _Bad("edge_cursor", UserCode.INVALID, error.message) from error
        if place.video_id != watch.video_id:
            raise _Bad("edge_cursor", UserCode.INVALID, "This cursor belongs to another video.")
        return place.snapshot_id, place.position


def _canonical_ids(watches: Sequence[ReportedWatch]) -> tuple[dict[int, str], list[Rejection]]:
    """Watch ids by index, and what is wrong with those that are no UUIDs."""
    ids: dict[int, str] = {}
    rejected = []
    for index, watch in enumerate(watches):
        try:
            if len(watch.watch_id) not in (32, 36):
                raise ValueError("not a UUID")
            ids[index] = str(uuid.UUID(watch.watch_id))
        except ValueError:
            code = UserCode.INVALID if watch.watch_id else UserCode.REQUIRED
            rejected.append(Rejection(index, "watch_id", code.value, "watch_id must be a UUID."))
    return ids, rejected


def _event(row: WatchRow) -> WatchRecorded:
    return WatchRecorded(
        user_id=row.user_id,
        video_id=row.video_id,
        author_id=row.author_id,
        watch_id=row.watch_id,
        watched_ms=row.watched_ms,
        duration_ms=row.duration_ms,
        completed=row.completed,
        skipped=row.skipped,
        snapshot_id=row.snapshot_id,
        position=row.position,
        hashtags=row.hashtags,
        reported_at_ms=row.at_ms,
    )
