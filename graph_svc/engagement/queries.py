"""Everything that reads engagement, but the stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graph_svc.engagement.sight import Sight
from graph_svc.engagement.store import EngagementStore, StoredComment
from graph_svc.engagement.views import CommentView, VideoEngagement, Views
from svc_kit.caller import Caller
from svc_kit.paging import TokenSigner, page_size

# A page whose entries are nearly all hidden ends early rather than reading on for ever; its token goes on.
MAX_REFILLS = 5


@dataclass(frozen=True, slots=True)
class ListedComment:
    """One entry of a list, and the token that continues after it."""

    comment: CommentView
    page_token: str


@dataclass(frozen=True, slots=True)
class CommentPage:
    """A page of comments; the token is empty at the end."""

    entries: Sequence[ListedComment]
    next_page_token: str


class EngagementQueries:
    """Numbers and comments, with the caller's own latest writes."""

    def __init__(self, store: EngagementStore, sight: Sight, views: Views, tokens: TokenSigner) -> None:
        self._store = store
        self._sight = sight
        self._views = views
        self._tokens = tokens

    async def videos(self, caller: Caller, video_ids: Sequence[int]) -> Sequence[VideoEngagement]:
        """Numbers of videos, in the order asked, whether or not the caller sees them."""
        return await self._views.videos(caller.user_id, video_ids)

    async def received_likes(self, caller: Caller, user_ids: Sequence[int]) -> Sequence[int]:
        """Likes that accounts' videos have received, in the order asked."""
        return await self._views.received_likes(caller.user_id, user_ids)

    async def comments(self, caller: Caller, ids: Sequence[int]) -> Sequence[CommentView]:
        """Comments that the caller may see, in the order asked; deleted ones without their text."""
        found = await self._store.comments(sorted(set(ids)))
        seen = await self._sight.comments(caller, [found[i] for i in dict.fromkeys(ids) if i in found])
        return await self._views.comments(caller.user_id, seen)

    async def page(self, caller: Caller, video_id: int, parent_id: int, size: int, token: str) -> CommentPage:
        """Top-level comments, newest first, or the replies to one, oldest first; nothing where the caller may not see
        the video."""
        limit, bound = page_size(size), f"{video_id}:{parent_id}"
        last = int(self._tokens.open(token, bound_to=bound)[0]) if token else 0
        if not await self._sight.sees_video(caller, video_id):
            return CommentPage([], "")
        shown: list[StoredComment] = []
        more = True
        for _ in range(MAX_REFILLS):
            found = await self._slice(video_id, parent_id, last, limit + 1)
            shown += await self._sight.unblocked(caller, found)
            more = len(found) > limit
            if not more or len(shown) > limit:
                break
            last = found[-1].id
        views = await self._views.comments(caller.user_id, shown[:limit])
        entries = [ListedComment(view, self._tokens.seal(view.id, bound_to=bound)) for view in views]
        if len(shown) > limit:
            return CommentPage(entries, entries[-1].page_token)
        return CommentPage(entries, self._tokens.seal(last, bound_to=bound) if more else "")

    async def _slice(self, video_id: int, parent_id: int, last_id: int, limit: int) -> Sequence[StoredComment]:
        if parent_id:
            return await self._store.replies(video_id, parent_id, last_id, limit)
        return await self._store.top_level(video_id, last_id, limit)
