"""What each event tells of a viewer and one video."""

from __future__ import annotations

from typing import Any

from rank_svc.features.store import Interaction
from reelgraph.events.v1.event_pb2 import Event


def interaction_of(event: Event) -> tuple[int, Interaction] | None:
    """Whose history an event belongs to and what it adds; None for another event."""
    kind = event.WhichOneof("body") or ""
    body: Any = getattr(event, kind) if kind else None
    at = event.occurred_at.ToMilliseconds()
    match kind:
        case "watch_recorded":
            watched = (max(body.watched_ms, 0), max(body.duration_ms, 0), at)
            made = Interaction(
                *(body.video_id, body.author_id, *watched),
                completed=body.completed,
                skipped=body.skipped,
                watched_at_ms=at,
            )
            found = body.user_id, made
        case "engagement_video_liked" | "engagement_video_unliked":
            liked = kind == "engagement_video_liked"
            made = Interaction(body.video_id, body.author_id, at_ms=at, liked=liked, like_version=event.entity_version)
            found = body.user_id, made
        case "engagement_video_shared":
            found = body.user_id, Interaction(body.video_id, body.author_id, at_ms=at, shared=True)
        case "engagement_comment_added":
            found = body.author_id, Interaction(body.video_id, body.video_author_id, at_ms=at, commented=True)
        case "feed_not_interested":
            found = body.user_id, Interaction(body.video_id, body.author_id, at_ms=at, not_interested=True)
        case _:
            return None
    return found if found[0] else None
