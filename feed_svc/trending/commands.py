"""Counts acts into the order of trending, finds viral videos, and makes the order again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from feed_svc.settings import FeedSettings
from feed_svc.trending.scoring import (
    BUCKETS_AN_HOUR,
    Weights,
    acts_of,
    bucket_of,
    rank_of,
    video_of,
    viral_among,
)
from feed_svc.trending.store import Act, Bucket, EventHistory, TrendingStore, TrendingTx, TrendingVideo, VideoDirectory
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.video_pb2 import VideoViral
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms

TOPICS = ("video", "watch", "engagement")
PAGE = 500
LAST_ID = 2**63 - 1
AS_JOB = Caller(is_service=True)


class TrendingCommands:
    """Applies events in any order and any number of times. An act is what its entity contributes as of its highest
    version: taking a like back takes off exactly what it added."""

    def __init__(
        self,
        store: TrendingStore,
        videos: VideoDirectory,
        history: EventHistory,
        clock: Clock,
        settings: FeedSettings,
    ) -> None:
        self._store = store
        self._videos = videos
        self._history = history
        self._clock = clock
        self._settings = settings
        self._weights = Weights.of(settings)

    @property
    def horizon_ms(self) -> int:
        """Acts before this moment count nothing."""
        return now_ms(self._clock) - self._weights.window_ms

    async def apply(self, events: Sequence[Event]) -> None:
        """Take in events of `TOPICS`, in one transaction."""
        videos = [video for event in events if (video := video_of(event))]
        acts = [act for event in events for act in acts_of(event, self._weights)]
        await self._take_in(videos, acts)

    async def _take_in(self, videos: Sequence[TrendingVideo], acts: Sequence[Act]) -> None:
        first = bucket_of(self.horizon_ms)
        acts = [act for act in acts if act.bucket >= first]
        newest: dict[int, TrendingVideo] = {}
        for video in videos:
            held = newest.get(video.video_id)
            newest[video.video_id] = video if held is None or video.version >= held.version else held
        if not newest and not acts:
            return
        async with self._store.begin(AS_JOB) as tx:
            await tx.put_videos(list(newest.values()))
            # Locked before they are counted, so that the ranks of two writers can't miss each other's acts.
            known = await tx.lock_videos(sorted(newest.keys() | {act.video_id for act in acts}))
            await self._count(tx, acts, first)
            await self._rank(tx, known.values(), first)

    async def _count(self, tx: TrendingTx, acts: Sequence[Act], first: int) -> None:
        held = dict(await tx.acts([act.entity for act in acts]))
        changed: dict[str, Act] = {}
        sums: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
        for act in acts:
            before = held.get(act.entity)
            if before is not None and before.version >= act.version:
                continue
            if before is not None and before.bucket >= first:
                _add(sums, before, -1)
            _add(sums, act, 1)
            held[act.entity] = changed[act.entity] = act
        await tx.put_acts(list(changed.values()))
        by_video: dict[int, list[Bucket]] = defaultdict(list)
        for (video_id, bucket), added in sorted(sums.items()):
            if any(added):
                by_video[video_id].append(Bucket(bucket, *added))
        for video_id, changes in by_video.items():
            await tx.add(video_id, changes)

    async def _rank(self, tx: TrendingTx, videos: Iterable[TrendingVideo], first: int) -> None:
        shown = [video for video in videos if video.shown]
        buckets = await tx.buckets([video.video_id for video in shown], first)
        weights = self._weights
        ranks = {v.video_id: rank_of(v.published_at_ms, buckets.get(v.video_id, ()), weights) for v in shown}
        await tx.set_ranks(ranks)

    async def find_viral(self) -> int:
        """Tell of videos that became viral within the last hour, each once; how many."""
        first = bucket_of(now_ms(self._clock)) - BUCKETS_AN_HOUR + 1
        found = 0
        for video_id, views in viral_among(await self._store.views_since(first), self._settings):
            async with self._store.begin(AS_JOB) as tx:
                video = await tx.mark_viral(video_id)
                if video is not None:
                    body = VideoViral(video_id=video_id, author_id=video.author_id, views_last_hour=views)
                    tx.emit(
                        entity=f"video:{video_id}", version=video.version, actor_id=video.author_id, video_viral=body
                    )
                    found += 1
        return found

    async def prune(self) -> int:
        """Remove what counts nothing any more; how many rows."""
        # A bucket longer than acts are accepted, so that none is counted twice on the edge.
        return await self._store.prune(bucket_of(self.horizon_ms) - 1, 5000)

    async def rebuild(self) -> int:
        """Make everything again from all published videos and the archive's events; how many videos are listed."""
        await self._list_again()
        batch: list[Event] = []
        async for payload in self._history.since(self.horizon_ms, ("watch", "engagement")):
            batch.append(Event.FromString(payload))
            if len(batch) == PAGE:
                await self.apply(batch)
                batch = []
        await self.apply(batch)
        count, last, first = 0, 0, bucket_of(self.horizon_ms)
        while ids := await self._store.ids_after(last, PAGE):
            last = ids[-1]
            async with self._store.begin(AS_JOB) as tx:
                known = await tx.lock_videos(ids)
                await tx.recount(ids, first)
                await self._rank(tx, known.values(), first)
            count += sum(video.shown for video in known.values())
        return count

    async def _list_again(self) -> None:
        began, last = now_ms(self._clock), 0
        while last < LAST_ID:
            page = await self._videos.published(last, PAGE)
            await self._take_in(page, [])
            until = page[-1].video_id if len(page) == PAGE else LAST_ID
            await self._store.hide_unlisted(last, until, [video.video_id for video in page], began)
            last = until


def _add(sums: dict[tuple[int, int], list[int]], act: Act, sign: int) -> None:
    total = sums[act.video_id, act.bucket]
    total[0] += sign * act.views
    total[1] += sign * act.weight_milli
    total[2] += sign * act.fresh_milli
