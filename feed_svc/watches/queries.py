"""Watch history and numbers of views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from feed_svc.watches.store import HistoryEntry, ViewCounts, WatchLog
from svc_kit.paging import TokenSigner, page_size


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Entries with the token that continues after each, and whether there is more."""

    entries: Sequence[tuple[HistoryEntry, str]]
    has_more: bool


class WatchQueries:
    """Reads of one viewer's history and of everybody's views."""

    def __init__(self, log: WatchLog, counts: ViewCounts, tokens: TokenSigner) -> None:
        self._log = log
        self._counts = counts
        self._tokens = tokens

    async def history(self, viewer_id: int, size: int, token: str) -> HistoryPage:
        """The viewer's watched videos, last watched first, each once."""
        limit = page_size(size)
        bound_to = f"history:{viewer_id}"
        before = None
        if token:
            at_ms, video_id = self._tokens.open(token, bound_to=bound_to)
            before = (int(at_ms), int(video_id))
        found = await self._log.history(viewer_id, limit + 1, before)
        return HistoryPage(
            [(e, self._tokens.seal(e.watched_at_ms, e.video_id, bound_to=bound_to)) for e in found[:limit]],
            has_more=len(found) > limit,
        )

    async def view_counts(self, viewer_id: int, video_ids: Sequence[int]) -> list[tuple[int, int]]:
        """Video and number of views, in the order asked; zero for an unknown one."""
        counts = await self._counts.of(viewer_id, list(dict.fromkeys(video_ids)))
        return [(video_id, counts.get(video_id, 0)) for video_id in video_ids]
