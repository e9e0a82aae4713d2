"""Comments of one video as they are written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from graph_svc.engagement.sight import Sight
from graph_svc.engagement.store import EngagementStore, StoredComment
from graph_svc.engagement.views import CommentView, Views
from svc_kit.caller import Caller
from svc_kit.clock import Clock
from svc_kit.wakeups import Wakeups

MAX_MISSED = 100
POLL_S = 2.0
"""How long a lost wake-up can delay a comment."""
SEEN_FOR_S = 1.0
"""How old an answer about visibility may be when a comment is sent."""
IDLE_CHECK_S = 10.0
LATE_IDS = 2000 << 22
"""Ids of 2 s: of two processes, one may commit a lower id after the other's higher one was read."""


def topic_of(video_id: int) -> str:
    """The wake-up topic of a video's comments."""
    return f"comments:{video_id}"


class CommentStream:
    """Streams comments from truth; wake-ups only say when to look."""

    def __init__(self, store: EngagementStore, sight: Sight, views: Views, wakeups: Wakeups, clock: Clock) -> None:
        self._store = store
        self._sight = sight
        self._views = views
        self._wakeups = wakeups
        self._clock = clock

    async def comments(self, caller: Caller, video_id: int, after_id: int) -> AsyncIterator[CommentView]:
        """First those missed since `after_id`, at most 100 (0: none), then new ones, each once, without end. Raises
        NOT_FOUND on `video_id` when the caller may see the video no longer."""
        # A socket outlives the access token that opened it: from here on the service acts for the viewer.
        caller = replace(caller, token="")
        async with self._wakeups.listen(topic_of(video_id)) as listener:
            checked_at = await self._checked(caller, video_id)
            reader = _Reader(self._store, video_id, after_id or await self._store.latest(video_id))
            found = await reader.missed() if after_id else []
            while True:
                for comment in found:
                    if self._clock.monotonic() - checked_at >= SEEN_FOR_S:
                        checked_at = await self._checked(caller, video_id)
                    if await self._sight.unblocked(caller, [comment]):
                        (view,) = await self._views.comments(caller.user_id, [comment])
                        yield view
                woken = len(found) < MAX_MISSED and await listener.wait(POLL_S)
                found = await reader.next()
                idle_s = self._clock.monotonic() - checked_at
                if not found and (woken or idle_s >= IDLE_CHECK_S):
                    # Woken for no comment: the video itself has changed.
                    checked_at = await self._checked(caller, video_id)

    async def _checked(self, caller: Caller, video_id: int) -> float:
        """From when on it is known that the caller may see the video; raises NOT_FOUND. The answer is as old as the
        question: what happened meanwhile may not be in it."""
        asked_at = self._clock.monotonic()
        await self._sight.video(caller, video_id)
        return asked_at


class _Reader:
    """Reads a video's comments once each, also those that commit a little late."""

    def __init__(self, store: EngagementStore, video_id: int, after_id: int) -> None:
        self._store = store
        self._video_id = video_id
        self._start = self._last = after_id
        self._read: set[int] = set()

    async def missed(self) -> Sequence[StoredComment]:
        return self._mark(await self._store.written_last(self._video_id, self._start, MAX_MISSED))

    async def next(self) -> Sequence[StoredComment]:
        floor = max(self._start, self._last - LATE_IDS)
        self._read = {comment_id for comment_id in self._read if comment_id > floor}
        found = await self._store.written(self._video_id, floor, MAX_MISSED + len(self._read))
        return self._mark([comment for comment in found if comment.id not in self._read])

    def _mark(self, found: Sequence[StoredComment]) -> Sequence[StoredComment]:
        self._read.update(comment.id for comment in found)
        self._last = max([self._last, *(comment.id for comment in found)])
        return found
