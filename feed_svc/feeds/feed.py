"""A page of either feed."""

from __future__ import annotations

from collections.abc import Callable

from feed_svc.feeds.cursors import FOLLOWING
from feed_svc.feeds.following import Following
from feed_svc.feeds.queries import FeedPage, ForYou
from feed_svc.feeds.viewers import Viewer
from svc_kit.errors import unauthenticated

DEFAULT_SIZE = 10


class Feeds:
    """Both feeds. `reads` is told each logged-in viewer, off the request path."""

    def __init__(self, for_you: ForYou, following: Following, *, reads: Callable[[int], None]) -> None:
        self._for_you = for_you
        self._following = following
        self._reads = reads

    async def page(self, kind: str, viewer: Viewer, size: int, cursor: str) -> FeedPage:
        """The page after `cursor`, or the first one; `size` 0 means 10. Raises UNAUTHENTICATED for FOLLOWING without a
        viewer, BAD_USER_INPUT for a cursor that is not this viewer's or of the other feed."""
        if viewer.id:
            self._reads(viewer.id)
        if kind == FOLLOWING:
            if not viewer.id:
                raise unauthenticated()
            return await self._following.page(viewer, size or DEFAULT_SIZE, cursor)
        return await self._for_you.page(viewer, size or DEFAULT_SIZE, cursor)
