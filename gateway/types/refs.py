"""Types that name one another, resolved late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import strawberry

if TYPE_CHECKING:
    from gateway.types.comment import Comment
    from gateway.types.notification import Notification
    from gateway.types.user import User
    from gateway.types.video import Video

UserRef = Annotated["User", strawberry.lazy("gateway.types.user")]
VideoRef = Annotated["Video", strawberry.lazy("gateway.types.video")]
CommentRef = Annotated["Comment", strawberry.lazy("gateway.types.comment")]
NotificationRef = Annotated["Notification", strawberry.lazy("gateway.types.notification")]
