"""Events as other services would write them, and a rank service on one machine."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc

import rank_svc.build
from rank_svc.schema import metadata
from rank_svc.scorers.base_model import write
from rank_svc.settings import RankSettings
from reelgraph.events.v1.account_pb2 import AccountDeleted, AccountInterestsSet
from reelgraph.events.v1.engagement_pb2 import EngagementVideoLiked, EngagementVideoShared, EngagementVideoUnliked
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.feed_pb2 import FeedNotInterested, FeedServed, Impression
from reelgraph.events.v1.video_pb2 import VideoDeleted, VideoFacts, VideoPublished, VideoUpdated
from reelgraph.events.v1.watch_pb2 import WatchRecorded
from reelgraph.rank.v1 import features_pb2, features_pb2_grpc, ranking_pb2_grpc, retrieval_pb2, retrieval_pb2_grpc
from svc_kit.bus.port import Record
from svc_kit.rpc.client import AS_SERVICE
from svc_kit.service import Service
from tests.support.clock import FakeClock
from tests.support.platform import BenchPlatform, create_tables, test_platform


class Story:
    """Makes events with ids of their own, at the time of a clock."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._ids = itertools.count(1)
        self._versions: dict[str, int] = {}

    def event(self, entity: str, actor_id: int, *, ago_s: float = 0, **body: Any) -> Event:
        version = self._versions[entity] = self._versions.get(entity, 0) + 1
        event = Event(id=next(self._ids), actor_id=actor_id, entity=entity, entity_version=version, **body)
        event.occurred_at.FromDatetime(self._clock.now() - timedelta(seconds=ago_s))
        return event

    def _facts(self, video_id: int, author_id: int, tags: Sequence[str], **more: Any) -> VideoFacts:
        published = int(self._clock.now().timestamp() * 1000)
        facts: dict[str, Any] = {
            "visibility": "PUBLIC",
            "duration_ms": 10_000,
            "published_at_ms": published,
            "has_audio": True,
        }
        return VideoFacts(video_id=video_id, author_id=author_id, hashtags=tags, **(facts | more))

    def published(self, video_id: int, author_id: int = 900, tags: Sequence[str] = (), **more: Any) -> Event:
        facts = self._facts(video_id, author_id, tags, **more)
        return self.event(f"video:{video_id}", author_id, video_published=VideoPublished(video=facts))

    def updated(self, video_id: int, author_id: int = 900, tags: Sequence[str] = (), **more: Any) -> Event:
        facts = self._facts(video_id, author_id, tags, **more)
        return self.event(f"video:{video_id}", author_id, video_updated=VideoUpdated(video=facts))

    def deleted(self, video_id: int, author_id: int = 900) -> Event:
        gone = VideoDeleted(video_id=video_id, author_id=author_id)
        return self.event(f"video:{video_id}", author_id, video_deleted=gone)

    def watched(self, viewer: int, video_id: int, ratio: float = 1.0, *, ago_s: float = 0, **more: Any) -> Event:
        number = next(self._ids)
        fields = {"watched_ms": int(10_000 * ratio), "duration_ms": 10_000, "completed": ratio >= 1} | more
        watch = WatchRecorded(user_id=viewer, video_id=video_id, author_id=900, watch_id=str(number), **fields)
        return self.event(f"watch:{viewer}:{number}", viewer, ago_s=ago_s, watch_recorded=watch)

    def skipped(self, viewer: int, video_id: int) -> Event:
        return self.watched(viewer, video_id, 0.05, skipped=True)

    def liked(self, viewer: int, video_id: int, *, back: bool = False) -> Event:
        kind = EngagementVideoUnliked if back else EngagementVideoLiked
        body = kind(user_id=viewer, video_id=video_id, author_id=900)
        name = "engagement_video_unliked" if back else "engagement_video_liked"
        fields: dict[str, Any] = {name: body}
        return self.event(f"like:{viewer}:{video_id}", viewer, **fields)

    def shared(self, viewer: int, video_id: int) -> Event:
        share = EngagementVideoShared(share_id=next(self._ids), user_id=viewer, video_id=video_id, author_id=900)
        return self.event(f"share:{share.share_id}", viewer, engagement_video_shared=share)

    def served(self, viewer: int, video_ids: Sequence[int]) -> Event:
        shown = [Impression(impression_id=next(self._ids), video_id=i) for i in video_ids]
        number = next(self._ids)
        return self.event(f"page:s{number}:0", viewer, feed_served=FeedServed(user_id=viewer, impressions=shown))

    def refused(self, viewer: int, video_id: int) -> Event:
        body = FeedNotInterested(user_id=viewer, video_id=video_id, author_id=900)
        return self.event(f"not_interested:{viewer}:{video_id}", viewer, feed_not_interested=body)

    def interested(self, viewer: int, tags: Sequence[str]) -> Event:
        body = AccountInterestsSet(account_id=viewer, hashtags=tags)
        return self.event(f"account:{viewer}", viewer, account_interests_set=body)

    def gone(self, viewer: int) -> Event:
        return self.event(f"account:{viewer}", viewer, account_deleted=AccountDeleted(account_id=viewer))


def record(event: Event) -> Record:
    """The event on its way to the bus."""
    body = event.WhichOneof("body") or ""
    return Record(body.partition("_")[0], event.actor_id, event.id, event.entity, event.SerializeToString())


@dataclass
class RankBench:
    """A rank service, and the world around it."""

    platform: BenchPlatform
    service: Service
    channel: grpc.aio.Channel
    story: Story
    seen: list[Event] = field(default_factory=list)

    @property
    def clock(self) -> FakeClock:
        assert isinstance(self.platform.clock, FakeClock)
        return self.platform.clock

    async def tell(self, *events: Event) -> None:
        """Publish events and wait until the features have them."""
        self.seen += events
        await self.platform.bus.publish([record(event) for event in events])
        (worker,) = (job for job in self.service.workers if job.name == "rank.features")
        await drain(self.platform, worker.run)

    async def refresh(self, *names: str) -> None:
        """Let jobs of the replica look once."""
        for name in names or ("rank.model", "rank.videos", "rank.viewers", "rank.surroundings"):
            (job,) = (job for job in self.service.workers if job.name == name)
            await once(self.clock, job.run)

    async def retrieve(self, viewer: features_pb2.ViewerContext, **more: Any) -> Any:
        """Call RetrieveCandidates as the feed would."""
        stub = retrieval_pb2_grpc.RetrievalServiceStub(self.channel)
        request = retrieval_pb2.RetrieveCandidatesRequest(viewer=viewer, **more)
        return await self.platform.peer.call(stub.RetrieveCandidates, request, AS_SERVICE)

    @property
    def retrieval(self) -> retrieval_pb2_grpc.RetrievalServiceStub:
        return retrieval_pb2_grpc.RetrievalServiceStub(self.channel)

    @property
    def ranking(self) -> ranking_pb2_grpc.RankingServiceStub:
        return ranking_pb2_grpc.RankingServiceStub(self.channel)

    @property
    def features(self) -> features_pb2_grpc.FeatureServiceStub:
        return features_pb2_grpc.FeatureServiceStub(self.channel)


async def drain(platform: BenchPlatform, run: Any) -> None:
    """Run a consumer until its group has handled all."""
    import asyncio

    from rank_svc.features.worker import GROUP, TOPICS

    task = asyncio.ensure_future(run())
    try:
        for _ in range(20_000):
            if not await platform.bus.lag(GROUP, TOPICS):
                return
            assert not task.done(), task.exception()
            await asyncio.sleep(0.001)
        raise AssertionError("the features worker does not catch up")
    finally:
        task.cancel()
        await asyncio.wait([task])


async def once(clock: FakeClock, run: Any) -> None:
    """Run a periodic job until it sleeps."""
    import asyncio

    before = clock.sleepers
    task = asyncio.ensure_future(run())
    try:
        while clock.sleepers <= before:
            assert not task.done(), task.exception()
            await asyncio.sleep(0.001)
    finally:
        task.cancel()
        await asyncio.wait([task])


def install_model(folder: Path, models: Path) -> Path:
    """Put the base version into a data folder's `models`, as the one that serves; returns the version's folder."""
    target = folder / "models" / "base-1"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(models)
        (folder / "models" / "serving").write_text("base-1\n")
    return target


def write_base(folder: Path) -> Path:
    """The base version, written anew."""
    write(folder)
    return folder


@asynccontextmanager
async def rank_bench(
    folder: Path,
    model: Path,
    settings: RankSettings | None = None,
    models_url: str = "",
    wide_url: str = "",
    db_url: str = "",
    several: bool = False,
) -> AsyncIterator[RankBench]:
    """A served rank service whose jobs the test runs by hand. `models_url`, `wide_url`, `db_url`: else the folder's
    own. `several`: other replicas may serve beside it."""
    install_model(folder, model)
    async with (
        test_platform(folder, models_url=models_url, wide_url=wide_url, db_url=db_url) as platform,
        AsyncExitStack() as stack,
    ):
        await create_tables(platform, "rank", metadata)
        platform = replace(platform, leases_ids=several)
        service = await rank_svc.build.build(platform, stack, settings)
        async with platform.serve(service) as channel:
            assert isinstance(platform.clock, FakeClock)
            yield RankBench(platform, service, channel, Story(platform.clock))
