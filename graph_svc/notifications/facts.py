"""Which facts an event tells, and to whom. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from graph_svc.notifications.store import Fact, NotificationKind
from reelgraph.events.v1.engagement_pb2 import EngagementCommentAdded
from reelgraph.events.v1.event_pb2 import Event
from svc_kit.ids import created_ms


def facts_of(event: Event) -> Sequence[Fact]:
    """The facts of an event, at most one a receiver, none for the one who acted."""
    match event.WhichOneof("body"):
        case "engagement_video_liked":
            liked = event.engagement_video_liked
            facts = [_fact(event, liked.author_id, NotificationKind.LIKE, liked.user_id, video_id=liked.video_id)]
        case "engagement_comment_liked":
            it = event.engagement_comment_liked
            facts = [
                _fact(
                    *(event, it.comment_author_id, NotificationKind.LIKE, it.user_id),
                    target=f"c:{it.comment_id}",
                    video_id=it.video_id,
                    comment_id=it.comment_id,
                )
            ]
        case "engagement_comment_added":
            facts = _of_comment(event, event.engagement_comment_added)
        case "follow_created":
            follow = event.follow_created
            facts = [_fact(event, follow.followee_id, NotificationKind.FOLLOW, follow.follower_id)]
        case "video_published":
            video = event.video_published.video
            facts = [_fact(event, video.author_id, NotificationKind.VIDEO_READY, 0, video_id=video.video_id)]
        case _:
            facts = []
    return [fact for fact in facts if fact.receiver_id not in (0, fact.actor_id)]


def _of_comment(event: Event, comment: EngagementCommentAdded) -> list[Fact]:
    """One fact a receiver, of the kind that concerns them most: a reply, else a mention, else a comment."""
    facts: dict[int, Fact] = {}
    kinds = [(comment.parent_author_id, NotificationKind.REPLY)]
    kinds += [(user_id, NotificationKind.MENTION) for user_id in comment.mentioned_ids]
    kinds += [(comment.video_author_id, NotificationKind.COMMENT)]
    for receiver_id, kind in kinds:
        target = f"c:{comment.parent_id}" if kind is NotificationKind.REPLY else f"v:{comment.video_id}"
        fact = _fact(
            *(event, receiver_id, kind, comment.author_id),
            target=target,
            subject=f"c:{comment.comment_id}",
            video_id=comment.video_id,
            comment_id=comment.comment_id,
        )
        facts.setdefault(receiver_id, fact)
    return list(facts.values())


def _fact(
    event: Event,
    receiver_id: int,
    kind: NotificationKind,
    actor_id: int,
    *,
    target: str = "",
    subject: str = "",
    video_id: int = 0,
    comment_id: int = 0,
) -> Fact:
    target = target or (f"v:{video_id}" if video_id else "")
    return Fact(
        *(receiver_id, event.id, kind, actor_id, target, subject or target, video_id, comment_id),
        created_at_ms=created_ms(event.id),
    )


def topic_of(receiver_id: int) -> str:
    """The wake-up topic of a receiver's facts."""
    return f"notifications:{receiver_id}"
