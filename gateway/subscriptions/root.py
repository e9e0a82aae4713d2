"""The root of subscriptions: a service's server-stream each, gone on with after a short loss."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.subscriptions.upstream import resumed
from gateway.types.comment import Comment
from gateway.types.fields import arg, subscription
from gateway.types.notification import Notification
from gateway.types.upload import Upload
from reelgraph.graph.v1 import engagement_pb2, notifications_pb2
from reelgraph.media.v1 import uploads_pb2
from svc_kit.errors import invalid, not_found

Seen = Annotated[
    strawberry.ID | None, arg("The last id seen: up to 100 missed ones come first. Absent: only new ones.")
]


@strawberry.type(description="Everything that can be listened to.")
class Subscription:
    """Each event is read with fresh loaders: it shows the state of its moment."""

    @subscription("Comments and replies under a video, as they are written.")
    async def comment_added(
        self, info: Info, video_id: Annotated[strawberry.ID, arg("The video.")], after: Seen = strawberry.UNSET
    ) -> AsyncGenerator[Comment, None]:
        context = info.context
        video, seen = _target(ids.Kind.VIDEO, video_id, "video"), _seen(ids.Kind.COMMENT, after)

        def request(last: int) -> Any:
            return engagement_pb2.StreamCommentsRequest(video_id=video, after_id=last)

        async for event in resumed(context, context.clients.engagement.StreamComments, request, seen, _comment_id):
            context.fresh_loaders()
            yield Comment.of(event.comment)

    @subscription("Notifications of the viewer, one for each fact.")
    async def notification_received(
        self, info: Info, after: Seen = strawberry.UNSET
    ) -> AsyncGenerator[Notification, None]:
        context = info.context
        context.caller.viewer()
        seen = _seen(ids.Kind.NOTIFICATION, after)

        def request(last: int) -> Any:
            return notifications_pb2.StreamNotificationsRequest(after_id=last)

        stream = resumed(context, context.clients.notifications.StreamNotifications, request, seen, _notification_id)
        async for event in stream:
            context.fresh_loaders()
            yield Notification.of(event.notification)

    @subscription(
        "An upload of the viewer's own: its present state first, then each change. Completes with the upload."
    )
    async def upload_progressed(
        self, info: Info, upload_id: Annotated[strawberry.ID, arg("The upload.")]
    ) -> AsyncGenerator[Upload, None]:
        context = info.context
        context.caller.viewer()
        upload = _target(ids.Kind.UPLOAD, upload_id, "upload")

        def request(_last: int) -> Any:
            return uploads_pb2.StreamUploadRequest(upload_id=upload)

        async for event in resumed(context, context.clients.uploads.StreamUpload, request, 0, None):
            context.fresh_loaders()
            yield Upload.of(event.upload)


def _comment_id(event: engagement_pb2.StreamCommentsResponse) -> int:
    return event.comment.id


def _notification_id(event: notifications_pb2.StreamNotificationsResponse) -> int:
    return event.notification.id


def _target(kind: ids.Kind, text: str, what: str) -> int:
    number = ids.number_of(kind, text)
    if number is None:
        raise not_found(f"{what}_id", what)
    return number


def _seen(kind: ids.Kind, text: str | None) -> int:
    if not text:
        return 0
    number = ids.number_of(kind, text)
    if number is None:
        raise invalid("after", f"after must be the id of a {kind.name.lower()}.")
    return number
