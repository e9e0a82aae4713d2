"""What engagement does about events: wakes streams of comments, and ends what a deleted video ends."""

from __future__ import annotations

from collections.abc import Sequence

from graph_svc.engagement.commenting import CommentCommands
from graph_svc.engagement.streaming import topic_of
from reelgraph.events.v1.event_pb2 import Event
from svc_kit.bus.runner import Envelope
from svc_kit.caller import Caller
from svc_kit.wakeups import Wakeups

COUNTERS_GROUP = "graph.counters"
STREAM_GROUP = "graph.comment_stream"
STREAM_TOPICS = ("engagement", "video")
CLEANUP_GROUP = "graph.ended_videos"
CLEANUP_TOPICS = ("video",)


class WakeHandler:
    """A handler of `STREAM_GROUP`."""

    def __init__(self, wakeups: Wakeups) -> None:
        self._wakeups = wakeups

    async def handle(self, batch: Sequence[Envelope]) -> None:
        videos = {_concerned(envelope.event) for envelope in batch} - {0}
        if videos:
            await self._wakeups.wake([topic_of(video_id) for video_id in sorted(videos)])


def _concerned(event: Event) -> int:
    """The video whose streams have something to look at; 0 for none."""
    match event.WhichOneof("body"):
        case "engagement_comment_added":
            return event.engagement_comment_added.video_id
        case "video_updated":
            return event.video_updated.video.video_id
        case "video_deleted":
            return event.video_deleted.video_id
        case _:
            return 0


class EndedVideosHandler:
    """A handler of `CLEANUP_GROUP`: removes the comments of deleted videos; again, it finds nothing left to remove."""

    def __init__(self, comments: CommentCommands) -> None:
        self._comments = comments

    async def handle(self, batch: Sequence[Envelope]) -> None:
        for envelope in batch:
            event = envelope.event
            if event.WhichOneof("body") == "video_deleted":
                caller = Caller(is_service=True, request_id=event.request_id)
                await self._comments.end_video(caller, event.video_deleted.video_id, event.video_deleted.author_id)
