"""What events count. Pure: the worker, read-your-writes and the rebuild agree on it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from reelgraph.events.v1.event_pb2 import Event
from svc_kit.counters import Delta

TOPICS = ("engagement",)


class Count(StrEnum):
    """What is counted, and of what."""

    LIKES = "likes"
    """Of a video."""
    COMMENTS = "comments"
    """Of a video: comments and replies that stand."""
    SHARES = "shares"
    """Of a video."""
    COMMENT_LIKES = "comment_likes"
    """Of a comment."""
    REPLIES = "replies"
    """Of a top-level comment: those that stand."""
    RECEIVED_LIKES = "received_likes"
    """Of an account: likes of its videos."""


KINDS = tuple(count.value for count in Count)


def deltas_of(event: Event) -> Sequence[Delta]:
    """By how much an event changes which counters."""
    match event.WhichOneof("body"):
        case "engagement_video_liked":
            return _liked(event.engagement_video_liked.video_id, event.engagement_video_liked.author_id, 1)
        case "engagement_video_unliked":
            return _liked(event.engagement_video_unliked.video_id, event.engagement_video_unliked.author_id, -1)
        case "engagement_comment_added":
            return _commented(event.engagement_comment_added.video_id, event.engagement_comment_added.parent_id, 1)
        case "engagement_comment_deleted":
            return _commented(event.engagement_comment_deleted.video_id, event.engagement_comment_deleted.parent_id, -1)
        case "engagement_comment_liked":
            return [(event.engagement_comment_liked.comment_id, Count.COMMENT_LIKES, 1)]
        case "engagement_comment_unliked":
            return [(event.engagement_comment_unliked.comment_id, Count.COMMENT_LIKES, -1)]
        case "engagement_video_shared":
            return [(event.engagement_video_shared.video_id, Count.SHARES, 1)]
        case _:
            return []


def _liked(video_id: int, author_id: int, by: int) -> list[Delta]:
    return [(video_id, Count.LIKES, by), (author_id, Count.RECEIVED_LIKES, by)]


def _commented(video_id: int, parent_id: int, by: int) -> list[Delta]:
    replied: list[Delta] = [(parent_id, Count.REPLIES, by)] if parent_id else []
    return [(video_id, Count.COMMENTS, by), *replied]
