"""What search and trending ask of media_svc and graph_svc, answered by real servers from a test's own tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from reelgraph.events.v1.account_pb2 import AccountCreated, AccountDeleted, AccountProfile, AccountUpdated
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.video_pb2 import VideoDeleted, VideoFacts, VideoPublished, VideoUpdated
from reelgraph.graph.v1 import accounts_pb2, accounts_pb2_grpc, follows_pb2, follows_pb2_grpc
from reelgraph.media.v1 import videos_pb2, videos_pb2_grpc
from svc_kit.bus.port import Bus, Record
from svc_kit.caller import current_caller
from svc_kit.clock import Clock, from_ms, now_ms
from svc_kit.errors import unavailable
from svc_kit.ids import IdGenerator
from svc_kit.rpc.server import Servicer
from svc_kit.service import Service
from svc_kit.text import hashtags_of
from tests.support.platform import BenchPlatform

PUBLIC = videos_pb2.Visibility.VISIBILITY_PUBLIC
PRIVATE = videos_pb2.Visibility.VISIBILITY_PRIVATE


@dataclass
class Truth(
    videos_pb2_grpc.VideoServiceServicer,
    accounts_pb2_grpc.AccountServiceServicer,
    follows_pb2_grpc.FollowServiceServicer,
):
    """Videos, accounts and blocks. `down`: methods that answer UNAVAILABLE; `calls`: how often each was called."""

    videos: dict[int, videos_pb2.Video] = field(default_factory=dict)
    names: dict[int, tuple[str, str]] = field(default_factory=dict)
    blocks: set[tuple[int, int]] = field(default_factory=set)
    followers: Counter[int] = field(default_factory=Counter)
    down: set[str] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)

    def _asked(self, method: str) -> None:
        self.calls[method] += 1
        if method in self.down:
            raise unavailable(f"{method} is down.")

    def _may_view(self, viewer: int, video: videos_pb2.Video) -> bool:
        if viewer and {(viewer, video.author_id), (video.author_id, viewer)} & self.blocks:
            return False
        return video.visibility == PUBLIC or video.author_id == viewer

    async def BatchGetVideos(self, request: Any, context: Any) -> videos_pb2.BatchGetVideosResponse:
        self._asked("BatchGetVideos")
        viewer = current_caller().user_id
        found = [self.videos[id_] for id_ in request.ids if id_ in self.videos]
        return videos_pb2.BatchGetVideosResponse(videos=[v for v in found if self._may_view(viewer, v)])

    async def ListPublishedVideos(self, request: Any, context: Any) -> videos_pb2.ListPublishedVideosResponse:
        self._asked("ListPublishedVideos")
        ids = sorted(id_ for id_ in self.videos if id_ > request.after_id)[: request.page_size or 500]
        return videos_pb2.ListPublishedVideosResponse(videos=[self.videos[id_] for id_ in ids])

    async def BatchGetAccounts(self, request: Any, context: Any) -> accounts_pb2.BatchGetAccountsResponse:
        self._asked("BatchGetAccounts")
        found = [self._account(id_) for id_ in request.ids if id_ in self.names]
        return accounts_pb2.BatchGetAccountsResponse(accounts=found)

    async def ListAccounts(self, request: Any, context: Any) -> accounts_pb2.ListAccountsResponse:
        self._asked("ListAccounts")
        ids = sorted(id_ for id_ in self.names if id_ > int(request.page_token or 0))
        page = ids[:2]
        token = str(page[-1]) if len(ids) > len(page) else ""
        return accounts_pb2.ListAccountsResponse(accounts=[self._account(i) for i in page], next_page_token=token)

    def _account(self, id_: int) -> accounts_pb2.Account:
        username, display_name = self.names[id_]
        return accounts_pb2.Account(id=id_, username=username, display_name=display_name)

    async def BatchGetRelations(self, request: Any, context: Any) -> follows_pb2.BatchGetRelationsResponse:
        self._asked("BatchGetRelations")
        viewer = current_caller().viewer()
        assert current_caller().is_service, "only a service is told who blocks"
        return follows_pb2.BatchGetRelationsResponse(
            relations=[
                follows_pb2.Relation(
                    user_id=id_, blocks=(viewer, id_) in self.blocks, blocked_by=(id_, viewer) in self.blocks
                )
                for id_ in request.user_ids
            ]
        )

    async def BatchGetFollowCounts(self, request: Any, context: Any) -> follows_pb2.BatchGetFollowCountsResponse:
        self._asked("BatchGetFollowCounts")
        counts = [follows_pb2.FollowCounts(user_id=i, follower_count=self.followers[i]) for i in request.user_ids]
        return follows_pb2.BatchGetFollowCountsResponse(counts=counts)


@asynccontextmanager
async def served_truth(platform: BenchPlatform) -> AsyncIterator[Truth]:
    """A `Truth` served where `platform.channels` look for media_svc and graph_svc."""
    truth = Truth()  # type: ignore[abstract]  # only what search and trending ask
    media = [
        Servicer(
            videos_pb2.DESCRIPTOR.services_by_name["VideoService"],
            truth,
            videos_pb2_grpc.add_VideoServiceServicer_to_server,
        )
    ]
    graph = [
        Servicer(
            accounts_pb2.DESCRIPTOR.services_by_name["AccountService"],
            truth,
            accounts_pb2_grpc.add_AccountServiceServicer_to_server,
        ),
        Servicer(
            follows_pb2.DESCRIPTOR.services_by_name["FollowService"],
            truth,
            follows_pb2_grpc.add_FollowServiceServicer_to_server,
        ),
    ]
    async with platform.serve(Service("media", media)), platform.serve(Service("graph", graph)):
        yield truth


@dataclass
class Story:
    """Changes truth and tells of it as events, which it returns; `publish` puts them on the bus."""

    truth: Truth
    clock: Clock
    ids: IdGenerator
    bus: Bus
    versions: Counter[str] = field(default_factory=Counter)
    told: list[Event] = field(default_factory=list)

    def _event(self, entity: str, actor_id: int, **body: Any) -> Event:
        self.versions[entity] += 1
        event = Event(
            id=self.ids.next(), actor_id=actor_id, entity=entity, entity_version=self.versions[entity], **body
        )
        event.occurred_at.FromDatetime(self.clock.now())
        self.told.append(event)
        return event

    def account(self, id_: int, username: str, display_name: str = "") -> Event:
        """Sign up, or change the names."""
        known = id_ in self.truth.names
        self.truth.names[id_] = (username, display_name)
        profile = AccountProfile(account_id=id_, username=username, display_name=display_name)
        if known:
            return self._event(f"account:{id_}", id_, account_updated=AccountUpdated(profile=profile))
        return self._event(f"account:{id_}", id_, account_created=AccountCreated(profile=profile))

    def account_gone(self, id_: int) -> Event:
        """Delete an account."""
        del self.truth.names[id_]
        return self._event(f"account:{id_}", id_, account_deleted=AccountDeleted(account_id=id_))

    def video(
        self, id_: int, author_id: int, caption: str = "", visibility: videos_pb2.Visibility = PUBLIC, age_ms: int = 0
    ) -> Event:
        """Publish a video, or change it."""
        known = self.truth.videos.get(id_)
        at_ms = known.created_at.ToMilliseconds() if known else now_ms(self.clock) - age_ms
        created = Timestamp()
        created.FromDatetime(from_ms(at_ms))
        tags = hashtags_of(caption)
        facts = VideoFacts(
            video_id=id_,
            author_id=author_id,
            caption=caption,
            hashtags=tags,
            visibility=videos_pb2.Visibility.Name(visibility).removeprefix("VISIBILITY_"),
            duration_ms=10_000,
            published_at_ms=at_ms,
        )
        event = (
            self._event(f"video:{id_}", author_id, video_updated=VideoUpdated(video=facts))
            if known
            else self._event(f"video:{id_}", author_id, video_published=VideoPublished(video=facts))
        )
        self.truth.videos[id_] = videos_pb2.Video(
            id=id_,
            author_id=author_id,
            caption=caption,
            hashtags=tags,
            state=videos_pb2.VideoState.VIDEO_STATE_READY,
            visibility=visibility,
            created_at=created,
            duration_ms=10_000,
            version=event.entity_version,
        )
        return event

    def video_gone(self, id_: int) -> Event:
        """Delete a video."""
        author_id = self.truth.videos.pop(id_).author_id
        return self._event(f"video:{id_}", author_id, video_deleted=VideoDeleted(video_id=id_, author_id=author_id))

    def tell(self, entity: str, actor_id: int, **body: Any) -> Event:
        """Any other event."""
        return self._event(entity, actor_id, **body)

    def records(self) -> Iterator[Record]:
        """Everything told so far, as records of the bus."""
        for event in self.told:
            topic = (event.WhichOneof("body") or "").partition("_")[0]
            yield Record(topic, event.actor_id, event.id, event.entity, event.SerializeToString())

    async def publish(self) -> None:
        """Put what was told since the last time on the bus."""
        await self.bus.publish(list(self.records()))
        self.told.clear()
