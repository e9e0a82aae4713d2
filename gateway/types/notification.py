"""Notifications."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.ready import pick, same
from gateway.types.fields import resolved
from gateway.types.node import Node
from gateway.types.refs import CommentRef, UserRef, VideoRef
from gateway.types.scalars import moment
from reelgraph.graph.v1 import notifications_pb2


@strawberry.enum(description="What a notification is about. More may come.")
class NotificationKind(Enum):
    """`reelgraph.graph.v1.NotificationKind`."""

    LIKE = strawberry.enum_value("LIKE", description="Somebody liked the viewer's video or comment.")
    COMMENT = strawberry.enum_value("COMMENT", description="Somebody commented on the viewer's video.")
    REPLY = strawberry.enum_value("REPLY", description="Somebody answered the viewer's comment.")
    FOLLOW = strawberry.enum_value("FOLLOW", description="Somebody follows the viewer.")
    MENTION = strawberry.enum_value("MENTION", description="Somebody named the viewer in a comment.")
    VIDEO_READY = strawberry.enum_value("VIDEO_READY", description="The viewer's video is published.")


@strawberry.type(
    description="What others did that concerns the viewer: facts of one kind about one thing on one day (UTC). "
    "The subscription sends one for each fact."
)
class Notification(Node):
    """A group of facts; its id is that of its newest fact."""

    number: strawberry.Private[int]
    actor_numbers: strawberry.Private[list[int]]
    video_number: strawberry.Private[int]
    comment_number: strawberry.Private[int]
    kind: NotificationKind = strawberry.field(description="What it is about.")
    actor_count: int = strawberry.field(description="How many did it.")
    created_at: datetime = strawberry.field(description="When its newest fact happened.")
    read: bool = strawberry.field(description="Whether the viewer has marked it read.")

    @classmethod
    def of(cls, notification: notifications_pb2.Notification) -> Notification:
        """From its message."""
        name = notifications_pb2.NotificationKind.Name(notification.kind)
        return cls(
            id=ids.encode(ids.Kind.NOTIFICATION, notification.id),
            number=notification.id,
            actor_numbers=list(notification.actor_ids),
            video_number=notification.video_id,
            comment_number=notification.comment_id,
            kind=NotificationKind[name.removeprefix("NOTIFICATION_KIND_")],
            actor_count=notification.actor_count,
            created_at=moment(notification.created_at),
            read=notification.read,
        )

    @resolved("Who did it: the newest 3.")
    async def actors(self, info: Info) -> list[UserRef] | None:
        found = await info.context.loaders.users.load_many(self.actor_numbers)
        return [user for user in found if user is not None]

    @resolved("The video it is about; null for none.")
    def video(self, info: Info) -> VideoRef | None:
        return pick(info.context.loaders.videos, self.video_number, same) if self.video_number else None

    @resolved("The newest comment it is about; null for none.")
    def comment(self, info: Info) -> CommentRef | None:
        return pick(info.context.loaders.comments, self.comment_number, same) if self.comment_number else None
