"""Reports of what was watched."""

from __future__ import annotations

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.errors import field_path, words
from gateway.mutations.answers import KeyedInput, Payload, answers, given
from gateway.types.errors import UserError, UserErrorCode
from gateway.types.fields import mutation
from reelgraph.feed.v1 import watches_pb2
from svc_kit.errors import UserCode, invalid

MAX_WATCHES = 100


@strawberry.input(description="One watch.")
class WatchInput:
    """`completed` and `skipped` are hints."""

    watch_id: str = strawberry.field(description="The client's UUID. Each counts once, in whatever batch it comes.")
    video_id: strawberry.ID = strawberry.field(description="The video.")
    watched_ms: int = strawberry.field(description="Milliseconds watched; capped by what is possible.")
    completed: bool | None = strawberry.field(default=False, description="A hint: watched to the end.")
    skipped: bool | None = strawberry.field(default=False, description="A hint: swiped away early.")
    edge_cursor: str | None = strawberry.field(
        default=strawberry.UNSET, description="The cursor of the feed's edge it was watched from; absent if none."
    )


@strawberry.input(description="Input of recordWatches.")
class RecordWatchesInput(KeyedInput):
    """A batch."""

    watches: list[WatchInput] = strawberry.field(description="At most 100.")


@strawberry.type(description="Answer of recordWatches. A bad watch is named in `userErrors`; the others count.")
class RecordWatchesPayload(Payload):
    """Partial success is the rule."""

    accepted_count: int | None = strawberry.field(
        default=None, description="Watches that stand, those that had been recorded before among them."
    )


@strawberry.type
class WatchMutations:
    """Watches are many and small: they come in batches."""

    @mutation("Records watches: they count as views and shape the feed.")
    @answers(RecordWatchesPayload)
    async def record_watches(self, info: Info, input: RecordWatchesInput) -> RecordWatchesPayload:
        if len(input.watches) > MAX_WATCHES:
            message = f"watches must have at most {MAX_WATCHES} items; it has {len(input.watches)}."
            raise invalid("watches", message, UserCode.TOO_LONG)
        numbers = [ids.number_of(ids.Kind.VIDEO, watch.video_id) for watch in input.watches]
        kept = [place for place, number in enumerate(numbers) if number is not None]
        request = watches_pb2.RecordWatchesRequest(
            watches=[_watch(input.watches[place], numbers[place] or 0) for place in kept], idempotency_key=input.key()
        )
        answer: watches_pb2.RecordWatchesResponse = await info.context.rpc(
            info.context.clients.watches.RecordWatches, request
        )
        unknown = [_unknown_video(place) for place, number in enumerate(numbers) if number is None]
        rejected = [_rejected(entry, kept[entry.index]) for entry in answer.rejected]
        return RecordWatchesPayload(accepted_count=answer.accepted_count, user_errors=[*unknown, *rejected])


def _watch(watch: WatchInput, number: int) -> watches_pb2.Watch:
    return watches_pb2.Watch(
        watch_id=watch.watch_id,
        video_id=number,
        watched_ms=watch.watched_ms,
        completed=bool(watch.completed),
        skipped=bool(watch.skipped),
        edge_cursor=given(watch.edge_cursor) or "",
    )


def _unknown_video(place: int) -> UserError:
    path = ["watches", str(place), "videoId"]
    return UserError(field=path, message="There is no such video.", code=UserErrorCode.NOT_FOUND)


def _rejected(entry: watches_pb2.RejectedWatch, place: int) -> UserError:
    code = UserErrorCode[entry.code] if entry.code in UserErrorCode.__members__ else UserErrorCode.INVALID
    path = ["watches", str(place), *field_path(entry.field)]
    return UserError(field=path, message=words(entry.message, entry.field), code=code)
