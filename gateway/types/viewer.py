"""Whoever is logged in."""

from __future__ import annotations

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.types.fields import resolved
from gateway.types.hashtag import videos_page
from gateway.types.node import Node
from gateway.types.notification import Notification
from gateway.types.page import After, Connection, First, page, page_size
from gateway.types.refs import UserRef, VideoRef
from gateway.types.session import Session
from reelgraph.feed.v1 import watches_pb2
from reelgraph.graph.v1 import accounts_pb2, follows_pb2, notifications_pb2


@strawberry.type(description="Whoever is logged in, and what only they see.")
class Viewer(Node):
    """`unread` is known when a command has just answered it."""

    number: strawberry.Private[int]
    unread: strawberry.Private[int | None] = None

    @classmethod
    def of(cls, number: int, unread: int | None = None) -> Viewer:
        """The viewer with this account."""
        return cls(id=ids.encode(ids.Kind.VIEWER, number), number=number, unread=unread)

    @resolved("The account as others see it.")
    async def user(self, info: Info) -> UserRef | None:
        return await info.context.loaders.users.load(self.number)

    @resolved("Where the viewer is logged in, most recently used first.")
    async def sessions(self, info: Info) -> list[Session] | None:
        return await viewer_sessions(info)

    @resolved("How many notifications are unread; counted up to 1,000.")
    async def unread_notification_count(self, info: Info) -> int | None:
        if self.unread is not None:
            return self.unread
        context = info.context
        answer: notifications_pb2.GetUnreadCountResponse = await context.rpc(
            context.clients.notifications.GetUnreadCount, notifications_pb2.GetUnreadCountRequest()
        )
        return answer.unread_count

    @resolved("Notifications, the one with the newest fact first.")
    async def notifications(
        self, info: Info, first: First = 10, after: After = strawberry.UNSET
    ) -> Connection[Notification] | None:
        context = info.context
        request = notifications_pb2.ListNotificationsRequest(page_size=page_size(first), page_token=after or "")
        answer: notifications_pb2.ListNotificationsResponse = await context.rpc(
            context.clients.notifications.ListNotifications, request
        )
        found = [(Notification.of(entry.notification), entry.page_token) for entry in answer.entries]
        return page(found, has_next=bool(answer.next_page_token), after=after)

    @resolved("Videos that the viewer has watched, last watched first, each once.")
    async def watch_history(
        self, info: Info, first: First = 10, after: After = strawberry.UNSET
    ) -> Connection[VideoRef] | None:
        context = info.context
        request = watches_pb2.ListWatchHistoryRequest(page_size=page_size(first), page_token=after or "")
        answer: watches_pb2.ListWatchHistoryResponse = await context.rpc(
            context.clients.watches.ListWatchHistory, request
        )
        return await videos_page(info, answer.entries, has_next=bool(answer.next_page_token), after=after)

    @resolved("Accounts that the viewer might follow, best first.")
    async def suggested_users(
        self, info: Info, first: First = 10, after: After = strawberry.UNSET
    ) -> Connection[UserRef] | None:
        context = info.context
        request = follows_pb2.ListSuggestionsRequest(page_size=page_size(first), page_token=after or "")
        answer: follows_pb2.ListSuggestionsResponse = await context.rpc(
            context.clients.follows.ListSuggestions, request
        )
        users = await context.loaders.show_users([s.user_id for s in answer.suggestions])
        found = [(user, s.page_token) for user, s in zip(users, answer.suggestions, strict=True)]
        return page(found, has_next=bool(answer.next_page_token), after=after)


async def viewer_sessions(info: Info) -> list[Session]:
    """The viewer's active sessions."""
    context = info.context
    answer: accounts_pb2.ListSessionsResponse = await context.rpc(
        context.clients.accounts.ListSessions, accounts_pb2.ListSessionsRequest()
    )
    return [Session.of(session, context.caller.session_id) for session in answer.sessions]
