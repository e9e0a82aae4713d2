"""`KnownVideos` over the author timelines of the domain fanout."""

from __future__ import annotations

from collections.abc import Sequence

from feed_svc.fanout.store import TimelineEntry, TimelineStore
from feed_svc.feeds.store import VideoFacts


class TimelineVideos:
    """`KnownVideos` by this service's projection of `video.*`."""

    def __init__(self, timelines: TimelineStore) -> None:
        self._timelines = timelines

    async def public(self, video_ids: Sequence[int]) -> dict[int, VideoFacts]:
        entries = await self._timelines.get(video_ids)
        return {entry.post.video_id: _facts(entry) for entry in entries if entry.visibility == "PUBLIC"}

    async def newest(self, limit: int) -> Sequence[VideoFacts]:
        return [_facts(entry) for entry in await self._timelines.newest_public(limit)]


def _facts(entry: TimelineEntry) -> VideoFacts:
    return VideoFacts(
        entry.post.video_id,
        entry.post.author_id,
        entry.hashtags,
        entry.visibility == "PUBLIC",
        entry.duration_ms,
        entry.post.published_at_ms,
        entry.language,
    )
