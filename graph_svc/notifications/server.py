"""The servicer of notifications: protobuf to domain and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from graph_svc.notifications.commands import NotificationCommands
from graph_svc.notifications.grouping import Notification
from graph_svc.notifications.queries import NotificationQueries
from reelgraph.graph.v1 import notifications_pb2 as pb
from reelgraph.graph.v1.notifications_pb2_grpc import NotificationServiceServicer
from svc_kit.caller import current_caller
from svc_kit.clock import from_ms

_Context = grpc.aio.ServicerContext[Any, Any]


class NotificationServicer(NotificationServiceServicer):
    """`reelgraph.graph.v1.NotificationService`."""

    def __init__(self, commands: NotificationCommands, queries: NotificationQueries) -> None:
        self._commands = commands
        self._queries = queries

    async def ListNotifications(
        self, request: pb.ListNotificationsRequest, context: _Context
    ) -> pb.ListNotificationsResponse:
        page = await self._queries.page(current_caller().viewer(), request.page_size, request.page_token)
        return pb.ListNotificationsResponse(
            entries=[
                pb.NotificationListEntry(notification=_notification(e.notification), page_token=e.page_token)
                for e in page.entries
            ],
            next_page_token=page.next_page_token,
        )

    async def BatchGetNotifications(
        self, request: pb.BatchGetNotificationsRequest, context: _Context
    ) -> pb.BatchGetNotificationsResponse:
        found = await self._queries.batch(current_caller().viewer(), request.ids)
        return pb.BatchGetNotificationsResponse(notifications=map(_notification, found))

    async def GetUnreadCount(self, request: pb.GetUnreadCountRequest, context: _Context) -> pb.GetUnreadCountResponse:
        return pb.GetUnreadCountResponse(unread_count=await self._queries.unread_count(current_caller().viewer()))

    async def MarkNotificationsRead(
        self, request: pb.MarkNotificationsReadRequest, context: _Context
    ) -> pb.MarkNotificationsReadResponse:
        result = await self._commands.mark_read(current_caller(), request.up_to_id)
        return pb.MarkNotificationsReadResponse(unread_count=result.unread_count)

    async def StreamNotifications(
        self, request: pb.StreamNotificationsRequest, context: _Context
    ) -> AsyncIterator[pb.StreamNotificationsResponse]:
        async for notification in self._queries.stream(current_caller().viewer(), request.after_id):
            yield pb.StreamNotificationsResponse(notification=_notification(notification))


def _notification(notification: Notification) -> pb.Notification:
    answer = pb.Notification(
        id=notification.id,
        kind=f"NOTIFICATION_KIND_{notification.kind.value}",
        actor_ids=notification.actor_ids,
        actor_count=notification.actor_count,
        video_id=notification.video_id,
        comment_id=notification.comment_id,
        read=notification.read,
    )
    answer.created_at.FromDatetime(from_ms(notification.created_at_ms))
    return answer
