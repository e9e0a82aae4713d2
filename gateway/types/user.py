"""Accounts as others see them."""

from __future__ import annotations

import asyncio
from datetime import datetime

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.ready import pick
from gateway.types.fields import resolved
from gateway.types.node import Node
from gateway.types.page import After, Connection, First, page, page_size
from gateway.types.refs import UserRef, VideoRef
from gateway.types.scalars import SafeInt, count, moment
from reelgraph.graph.v1 import accounts_pb2, follows_pb2
from reelgraph.media.v1 import videos_pb2


@strawberry.type(description="An account as everybody sees it.")
class User(Node):
    """An account and its number."""

    number: strawberry.Private[int]
    username: str = strawberry.field(description="Unique user name as its owner wrote it.")
    display_name: str = strawberry.field(description="Name shown to people.")
    bio: str = strawberry.field(description="A few words about oneself; may be empty.")
    avatar_url: str | None = strawberry.field(description="Absolute URL of the avatar; null for none.")
    created_at: datetime = strawberry.field(description="When the account was made.")

    @classmethod
    def of(cls, account: accounts_pb2.Account) -> User:
        """From its message."""
        return cls(
            id=ids.encode(ids.Kind.USER, account.id),
            number=account.id,
            username=account.username,
            display_name=account.display_name,
            bio=account.bio,
            avatar_url=account.avatar_url or None,
            created_at=moment(account.created_at),
        )

    @resolved("How many follow the account.")
    def follower_count(self, info: Info) -> int | None:
        return pick(info.context.loaders.follow_counts, self.number, lambda found: count(found.follower_count))

    @resolved("How many the account follows.")
    def following_count(self, info: Info) -> int | None:
        return pick(info.context.loaders.follow_counts, self.number, lambda found: count(found.followee_count))

    @resolved("How many public videos the account has that can be played.")
    def video_count(self, info: Info) -> int | None:
        return pick(info.context.loaders.video_counts, self.number, count)

    @resolved("How many likes the account's videos have received.")
    def like_count(self, info: Info) -> SafeInt | None:
        return pick(info.context.loaders.received_likes, self.number, SafeInt)

    @resolved("Whether the viewer follows the account; null when nobody is logged in.")
    def viewer_follows(self, info: Info) -> bool | None:
        return info.context.loaders.relation(self.number, lambda relation: relation.follows)

    @resolved("Whether the account follows the viewer; null when nobody is logged in.")
    def follows_viewer(self, info: Info) -> bool | None:
        return info.context.loaders.relation(self.number, lambda relation: relation.followed_by)

    @resolved("Whether the viewer blocks the account; null when nobody is logged in.")
    def viewer_blocks(self, info: Info) -> bool | None:
        return info.context.loaders.relation(self.number, lambda relation: relation.blocks)

    @resolved("Whether the viewer mutes the account; null when nobody is logged in.")
    def viewer_mutes(self, info: Info) -> bool | None:
        return info.context.loaders.relation(self.number, lambda relation: relation.mutes)

    @resolved("The account's videos that the viewer may see, newest first.")
    async def videos(
        self, info: Info, first: First = 10, after: After = strawberry.UNSET
    ) -> Connection[VideoRef] | None:
        from gateway.types.video import Video

        context = info.context
        request = videos_pb2.ListAuthorVideosRequest(
            author_id=self.number,
            page_size=page_size(first),
            page_token=after or "",
            with_playback=context.with_playback,
        )
        answer: videos_pb2.ListAuthorVideosResponse = await context.rpc(
            context.clients.videos.ListAuthorVideos, request
        )
        found = [(Video.of(entry.video), entry.page_token) for entry in answer.entries]
        numbers = [video.number for video, _ in found]
        await asyncio.gather(
            context.loaders.warm_videos(numbers), context.loaders.warm_users([self.number], "Video.author")
        )
        return page(found, has_next=bool(answer.next_page_token), after=after)

    @resolved("Who follows the account, newest follow first.")
    async def followers(
        self, info: Info, first: First = 10, after: After = strawberry.UNSET
    ) -> Connection[UserRef] | None:
        request = follows_pb2.ListFollowersRequest(
            user_id=self.number, page_size=page_size(first), page_token=after or ""
        )
        answer = await info.context.rpc(info.context.clients.follows.ListFollowers, request)
        return await users_page(info, answer, after)

    @resolved("Whom the account follows, newest follow first.")
    async def following(
        self, info: Info, first: First = 10, after: After = strawberry.UNSET
    ) -> Connection[UserRef] | None:
        request = follows_pb2.ListFolloweesRequest(
            user_id=self.number, page_size=page_size(first), page_token=after or ""
        )
        answer = await info.context.rpc(info.context.clients.follows.ListFollowees, request)
        return await users_page(info, answer, after)


async def users_page(
    info: Info, answer: follows_pb2.ListFollowersResponse | follows_pb2.ListFolloweesResponse, after: str | None
) -> Connection[User]:
    """A page of accounts; those that are gone are left out."""
    users = await info.context.loaders.show_users([entry.user_id for entry in answer.entries])
    found = [(user, entry.page_token) for user, entry in zip(users, answer.entries, strict=True)]
    return page(found, has_next=bool(answer.next_page_token), after=after)
