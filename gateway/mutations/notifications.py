"""Reading notifications."""

from __future__ import annotations

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.mutations.answers import KeyedInput, Payload, answers, number_in
from gateway.types.fields import mutation
from gateway.types.viewer import Viewer
from reelgraph.graph.v1 import notifications_pb2


@strawberry.input(description="Input of markNotificationsRead.")
class MarkNotificationsReadInput(KeyedInput):
    """A watermark."""

    up_to_id: strawberry.ID = strawberry.field(description="The newest notification that was read.")


@strawberry.type(description="Answer of markNotificationsRead.")
class MarkNotificationsReadPayload(Payload):
    """The viewer, with the count of what is still unread."""

    viewer: Viewer | None = strawberry.field(default=None, description="The viewer.")


@strawberry.type
class NotificationMutations:
    """Read state is one watermark an account; it never moves back."""

    @mutation("Marks this notification and all older ones read.")
    @answers(MarkNotificationsReadPayload)
    async def mark_notifications_read(
        self, info: Info, input: MarkNotificationsReadInput
    ) -> MarkNotificationsReadPayload:
        context = info.context
        request = notifications_pb2.MarkNotificationsReadRequest(
            up_to_id=number_in(ids.Kind.NOTIFICATION, input.up_to_id, "up_to_id"), idempotency_key=input.key()
        )
        answer: notifications_pb2.MarkNotificationsReadResponse = await context.rpc(
            context.clients.notifications.MarkNotificationsRead, request
        )
        return MarkNotificationsReadPayload(viewer=Viewer.of(context.caller.user_id, answer.unread_count))
