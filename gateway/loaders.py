"""DataLoaders: one batched call for each need of an operation. Made anew for every operation, mutation and event.

A batch that fails fails for all its keys, so each field that needed it reports the outage and the rest stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from strawberry.dataloader import DataLoader

from gateway.ready import pick
from gateway.types.comment import Comment
from gateway.types.hashtag import Hashtag
from gateway.types.notification import Notification
from gateway.types.upload import Upload
from gateway.types.user import User
from gateway.types.video import Video
from reelgraph.feed.v1 import search_pb2, watches_pb2
from reelgraph.graph.v1 import accounts_pb2, engagement_pb2, follows_pb2, notifications_pb2
from reelgraph.media.v1 import uploads_pb2, videos_pb2

if TYPE_CHECKING:
    from gateway.context import Context

K = TypeVar("K")
V = TypeVar("V")

_ENGAGEMENT = frozenset(f"Video.{name}" for name in ("likeCount", "commentCount", "shareCount", "viewerHasLiked"))
_VIEWS = frozenset({"Video.viewCount"})
_FOLLOW_COUNTS = frozenset({"User.followerCount", "User.followingCount"})
_RECEIVED_LIKES = frozenset({"User.likeCount"})
_VIDEO_COUNTS = frozenset({"User.videoCount"})
_RELATIONS = frozenset(f"User.{name}" for name in ("viewerFollows", "followsViewer", "viewerBlocks", "viewerMutes"))

LARGE_BATCH = 500
SMALL_BATCH = 100
RELATIONS_BATCH = 1000


class Loaders:
    """Keys are numbers within their kind, names for hashtags. What the services don't answer is None."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.users: DataLoader[int, User | None] = _loader(self._users, LARGE_BATCH)
        self.usernames: DataLoader[str, User | None] = _loader(self._usernames, SMALL_BATCH)
        self.videos: DataLoader[int, Video | None] = _loader(self._videos, LARGE_BATCH)
        self.engagement: DataLoader[int, engagement_pb2.VideoEngagement] = _loader(self._engagement, LARGE_BATCH)
        self.views: DataLoader[int, int] = _loader(self._views, LARGE_BATCH)
        self.relations: DataLoader[int, follows_pb2.Relation] = _loader(self._relations, RELATIONS_BATCH)
        self.follow_counts: DataLoader[int, follows_pb2.FollowCounts] = _loader(self._follow_counts, LARGE_BATCH)
        self.received_likes: DataLoader[int, int] = _loader(self._received_likes, LARGE_BATCH)
        self.video_counts: DataLoader[int, int] = _loader(self._video_counts, LARGE_BATCH)
        self.comments: DataLoader[int, Comment | None] = _loader(self._comments, LARGE_BATCH)
        self.notifications: DataLoader[int, Notification | None] = _loader(self._notifications, SMALL_BATCH)
        self.uploads: DataLoader[int, Upload | None] = _loader(self._uploads, SMALL_BATCH)
        self.hashtags: DataLoader[str, Hashtag | None] = _loader(self._hashtags, SMALL_BATCH)

    def relation(self, user_number: int, of: Callable[[follows_pb2.Relation], bool]) -> bool | None:
        """What `of` reads from how the viewer stands to an account; None when nobody is logged in."""
        return pick(self.relations, user_number, of) if self._context.caller.user_id else None

    async def show_videos(self, numbers: Sequence[int]) -> list[Video | None]:
        """Videos of a list, and side by side with them all that the operation selects of them: fields then answer at
        once. What fails beside them fails again where it is needed."""
        videos, _ = await asyncio.gather(self.videos.load_many(numbers), self.warm_videos(numbers))
        await self.warm_users([video.author_number for video in videos if video], "Video.author")
        return videos

    async def show_users(self, numbers: Sequence[int]) -> list[User | None]:
        """Accounts of a list, with what the operation selects of them."""
        users, _ = await asyncio.gather(self.users.load_many(numbers), self.warm_users(numbers))
        return users

    async def warm_videos(self, numbers: Sequence[int]) -> None:
        """Read the numbers of videos, as far as they are selected."""
        await self._warm(numbers, ((self.engagement, _ENGAGEMENT), (self.views, _VIEWS)))

    async def warm_users(self, numbers: Sequence[int], edge: str = "") -> None:
        """Read accounts and their numbers, as far as they are selected; not at all unless `edge`, which leads to them,
        is selected too."""
        if edge and edge not in self._context.selected:
            return
        wanted: list[tuple[DataLoader[int, Any], frozenset[str]]] = [
            (self.users, frozenset({edge})),
            (self.follow_counts, _FOLLOW_COUNTS),
            (self.received_likes, _RECEIVED_LIKES),
            (self.video_counts, _VIDEO_COUNTS),
        ]
        if self._context.caller.user_id:
            wanted.append((self.relations, _RELATIONS))
        await self._warm(list(dict.fromkeys(numbers)), wanted)

    async def _warm(
        self, numbers: Sequence[int], wanted: Iterable[tuple[DataLoader[int, Any], frozenset[str]]]
    ) -> None:
        selected = self._context.selected
        loads = [loader.load(number) for loader, fields in wanted if fields & selected for number in numbers]
        # A loader keeps the error for whoever needs the value.
        await asyncio.gather(*loads, return_exceptions=True)

    async def _users(self, keys: list[int]) -> list[User | None]:
        answer: accounts_pb2.BatchGetAccountsResponse = await self._context.rpc(
            self._context.clients.accounts.BatchGetAccounts, accounts_pb2.BatchGetAccountsRequest(ids=keys)
        )
        return _in_order(keys, ((account.id, User.of(account)) for account in answer.accounts))

    async def _usernames(self, keys: list[str]) -> list[User | None]:
        # The answer does not say which name it is for, and names are compared by rules of graph_svc: one name a call.
        return list(await asyncio.gather(*(self._username(key) for key in keys)))

    async def _username(self, name: str) -> User | None:
        answer: accounts_pb2.BatchGetAccountsByUsernameResponse = await self._context.rpc(
            self._context.clients.accounts.BatchGetAccountsByUsername,
            accounts_pb2.BatchGetAccountsByUsernameRequest(usernames=[name]),
        )
        return User.of(answer.accounts[0]) if answer.accounts else None

    async def _videos(self, keys: list[int]) -> list[Video | None]:
        request = videos_pb2.BatchGetVideosRequest(ids=keys, with_playback=self._context.with_playback)
        answer: videos_pb2.BatchGetVideosResponse = await self._context.rpc(
            self._context.clients.videos.BatchGetVideos, request
        )
        return _in_order(keys, ((video.id, Video.of(video)) for video in answer.videos))

    async def _engagement(self, keys: list[int]) -> list[engagement_pb2.VideoEngagement]:
        answer: engagement_pb2.BatchGetVideoEngagementResponse = await self._context.rpc(
            self._context.clients.engagement.BatchGetVideoEngagement,
            engagement_pb2.BatchGetVideoEngagementRequest(video_ids=keys),
        )
        return list(answer.engagements)

    async def _views(self, keys: list[int]) -> list[int]:
        answer: watches_pb2.BatchGetViewCountsResponse = await self._context.rpc(
            self._context.clients.watches.BatchGetViewCounts, watches_pb2.BatchGetViewCountsRequest(video_ids=keys)
        )
        return [entry.view_count for entry in answer.counts]

    async def _relations(self, keys: list[int]) -> list[follows_pb2.Relation]:
        answer: follows_pb2.BatchGetRelationsResponse = await self._context.rpc(
            self._context.clients.follows.BatchGetRelations, follows_pb2.BatchGetRelationsRequest(user_ids=keys)
        )
        return list(answer.relations)

    async def _follow_counts(self, keys: list[int]) -> list[follows_pb2.FollowCounts]:
        answer: follows_pb2.BatchGetFollowCountsResponse = await self._context.rpc(
            self._context.clients.follows.BatchGetFollowCounts, follows_pb2.BatchGetFollowCountsRequest(user_ids=keys)
        )
        return list(answer.counts)

    async def _received_likes(self, keys: list[int]) -> list[int]:
        answer: engagement_pb2.BatchGetReceivedLikesResponse = await self._context.rpc(
            self._context.clients.engagement.BatchGetReceivedLikes,
            engagement_pb2.BatchGetReceivedLikesRequest(user_ids=keys),
        )
        return [entry.like_count for entry in answer.received_likes]

    async def _video_counts(self, keys: list[int]) -> list[int]:
        answer: videos_pb2.BatchGetVideoCountsResponse = await self._context.rpc(
            self._context.clients.videos.BatchGetVideoCounts, videos_pb2.BatchGetVideoCountsRequest(author_ids=keys)
        )
        return [entry.video_count for entry in answer.counts]

    async def _comments(self, keys: list[int]) -> list[Comment | None]:
        answer: engagement_pb2.BatchGetCommentsResponse = await self._context.rpc(
            self._context.clients.engagement.BatchGetComments, engagement_pb2.BatchGetCommentsRequest(ids=keys)
        )
        return _in_order(keys, ((comment.id, Comment.of(comment)) for comment in answer.comments))

    async def _notifications(self, keys: list[int]) -> list[Notification | None]:
        # A group answers for any of its facts under its newest one's id, so answers can't be matched to a batch's keys.
        return list(await asyncio.gather(*(self._notification(key) for key in keys)))

    async def _notification(self, number: int) -> Notification | None:
        answer: notifications_pb2.BatchGetNotificationsResponse = await self._context.rpc(
            self._context.clients.notifications.BatchGetNotifications,
            notifications_pb2.BatchGetNotificationsRequest(ids=[number]),
        )
        return Notification.of(answer.notifications[0]) if answer.notifications else None

    async def _uploads(self, keys: list[int]) -> list[Upload | None]:
        answer: uploads_pb2.BatchGetUploadsResponse = await self._context.rpc(
            self._context.clients.uploads.BatchGetUploads, uploads_pb2.BatchGetUploadsRequest(ids=keys)
        )
        return _in_order(keys, ((upload.id, Upload.of(upload)) for upload in answer.uploads))

    async def _hashtags(self, keys: list[str]) -> list[Hashtag | None]:
        answer: search_pb2.BatchGetHashtagsResponse = await self._context.rpc(
            self._context.clients.search.BatchGetHashtags, search_pb2.BatchGetHashtagsRequest(names=keys)
        )
        return _in_order(keys, ((hashtag.name, Hashtag.of(hashtag)) for hashtag in answer.hashtags))


def _loader(load: Callable[[list[K]], Awaitable[list[V]]], batch: int) -> DataLoader[K, V]:
    # Strawberry types the function with a Sequence of values or exceptions; ours answer values or raise.
    load_fn: Any = load
    return DataLoader(load_fn=load_fn, max_batch_size=batch)


def _in_order(keys: Sequence[K], found: Iterable[tuple[K, V]]) -> list[V | None]:
    by_key = dict(found)
    return [by_key.get(key) for key in keys]
