"""DataLoaders: one batched call for each need of an operation. Made anew for every operation, mutation and event.

A batch that fails fails for all its keys, so each field that needed it reports the outage and the rest stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from strawberry.dataloader import DataLoader

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

    async def relation(self, user_number: int) -> follows_pb2.Relation | None:
        """How the viewer stands to an account; None when nobody is logged in."""
        return await self.relations.load(user_number) if self._context.caller.user_id else None

    async def videos_and_users(
        self, video_numbers: Sequence[int], user_numbers: Sequence[int]
    ) -> tuple[dict[int, Video], dict[int, User]]:
        """Those that can be shown, by number, read side by side."""
        videos, users = await asyncio.gather(self.videos.load_many(video_numbers), self.users.load_many(user_numbers))
        return {v.number: v for v in videos if v}, {u.number: u for u in users if u}

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
