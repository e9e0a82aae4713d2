"""What happens elsewhere and changes a viewer's feed: likes, interests, follows, blocks and mutes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from feed_svc.feeds.store import InteractionStore
from reelgraph.events.v1.event_pb2 import Event
from svc_kit.bus.runner import Envelope

TOPICS = ("account", "block", "engagement", "follow")


class FeedEvents:
    """A `svc_kit.bus.runner.Handler`. Likes are kept by their version; that a viewer acted may be noted twice."""

    def __init__(self, interactions: InteractionStore, acted: Callable[[int], None]) -> None:
        self._interactions = interactions
        self._acted = acted

    async def handle(self, batch: Sequence[Envelope]) -> None:
        for envelope in batch:
            await self._apply(envelope.event)

    async def _apply(self, event: Event) -> None:
        match event.WhichOneof("body"):
            case "engagement_video_liked":
                liked = event.engagement_video_liked
                at_ms = event.occurred_at.ToMilliseconds()
                await self._like(event, liked.user_id, liked.video_id, liked.author_id, at_ms)
            case "engagement_video_unliked":
                unliked = event.engagement_video_unliked
                await self._like(event, unliked.user_id, unliked.video_id, unliked.author_id, 0)
            case "account_interests_set":
                await self._interactions.note_action(event.account_interests_set.account_id)
                self._acted(event.account_interests_set.account_id)
            case "follow_created" | "follow_deleted" | "block_muted" | "block_unmuted":
                self._acted(event.actor_id)
            case "block_created":
                self._acted(event.block_created.blocker_id)
                self._acted(event.block_created.blocked_id)
            case "block_deleted":
                self._acted(event.block_deleted.blocker_id)
            case _:
                pass

    async def _like(self, event: Event, user_id: int, video_id: int, author_id: int, at_ms: int) -> None:
        await self._interactions.put_like(user_id, video_id, author_id, at_ms, event.entity_version)
        self._acted(user_id)
