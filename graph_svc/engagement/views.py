"""Videos' numbers and comments as a viewer gets them: rows, counters and the viewer's own likes together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from graph_svc.engagement.counting import Count, deltas_of
from graph_svc.engagement.store import EngagementStore, Likable, StoredComment
from svc_kit.counters import DeltasOf, Key


@dataclass(frozen=True, slots=True)
class VideoEngagement:
    """Numbers of one video, and whether the viewer likes it."""

    video_id: int
    like_count: int
    comment_count: int
    share_count: int
    viewer_has_liked: bool


@dataclass(frozen=True, slots=True)
class CommentView:
    """One comment with its numbers."""

    id: int
    video_id: int
    author_id: int
    parent_id: int
    text: str | None
    created_at_ms: int
    like_count: int
    reply_count: int
    viewer_has_liked: bool


class Totals(Protocol):
    """Sums of counters: `svc_kit.counters.CounterStore` or its cached form."""

    async def totals_for(self, keys: Sequence[Key], viewer_id: int, deltas_of: DeltasOf) -> Mapping[Key, int]:
        """The sum of each key, with what the viewer did and is not counted yet."""
        ...


class Views:
    """Joins numbers to what is shown."""

    def __init__(self, store: EngagementStore, totals: Totals) -> None:
        self._store = store
        self._totals = totals

    async def videos(self, viewer_id: int, video_ids: Sequence[int]) -> list[VideoEngagement]:
        """Numbers of videos, in the order asked."""
        kinds = (Count.LIKES, Count.COMMENTS, Count.SHARES)
        keys: list[Key] = [(video_id, kind) for video_id in sorted(set(video_ids)) for kind in kinds]
        totals = await self._totals.totals_for(keys, viewer_id, deltas_of)
        liked = await self._store.liked(Likable.VIDEO, viewer_id, sorted(set(video_ids)))
        return [
            VideoEngagement(
                video_id,
                like_count=max(0, totals[video_id, Count.LIKES]),
                comment_count=max(0, totals[video_id, Count.COMMENTS]),
                share_count=max(0, totals[video_id, Count.SHARES]),
                viewer_has_liked=video_id in liked,
            )
            for video_id in video_ids
        ]

    async def received_likes(self, viewer_id: int, user_ids: Sequence[int]) -> list[int]:
        """Likes that accounts' videos have received, in the order asked."""
        keys: list[Key] = [(user_id, Count.RECEIVED_LIKES) for user_id in sorted(set(user_ids))]
        totals = await self._totals.totals_for(keys, viewer_id, deltas_of)
        return [max(0, totals[user_id, Count.RECEIVED_LIKES]) for user_id in user_ids]

    async def comments(self, viewer_id: int, comments: Sequence[StoredComment]) -> list[CommentView]:
        """Comments with their numbers, in the order given."""
        ids = sorted({comment.id for comment in comments})
        kinds = (Count.COMMENT_LIKES, Count.REPLIES)
        keys: list[Key] = [(comment_id, kind) for comment_id in ids for kind in kinds]
        totals = await self._totals.totals_for(keys, viewer_id, deltas_of)
        liked = await self._store.liked(Likable.COMMENT, viewer_id, ids)
        return [
            CommentView(
                *(c.id, c.video_id, c.author_id, c.parent_id, c.text, c.created_at_ms),
                like_count=max(0, totals[c.id, Count.COMMENT_LIKES]),
                reply_count=max(0, totals[c.id, Count.REPLIES]),
                viewer_has_liked=c.id in liked,
            )
            for c in comments
        ]
