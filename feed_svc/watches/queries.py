"""Watch history and numbers of views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from feed_svc.watches.store import HistoryEntry, HistoryPlace, ViewCounts, WatchHistory, WatchLog
from svc_kit.paging import TokenSigner, page_size


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Entries with the token that continues after each, and whether there is more."""

    entries: Sequence[tuple[HistoryEntry, str]]
    has_more: bool


RECENT_WATCHES = 200
"""So many of a viewer's newest watches are shown at once, though the history may not have them yet."""


class WatchQueries:
    """Reads of one viewer's history and of everybody's views."""

    def __init__(self, log: WatchLog, histories: WatchHistory, counts: ViewCounts, tokens: TokenSigner) -> None:
        self._log = log
        self._histories = histories
        self._counts = counts
        self._tokens = tokens

    async def history(self, viewer_id: int, size: int, token: str) -> HistoryPage:
        """The viewer's watched videos, last watched first, each once; their own watches are in it at once."""
        limit = page_size(size)
        bound_to = f"history:{viewer_id}"
        place = _place(self._tokens.open(token, bound_to=bound_to)) if token else None
        waiting = await self._waiting(viewer_id)
        below = [e for e in waiting.values() if place is None or e.key < place.key]
        places = [HistoryPlace(entry.key) for entry in below]
        entries, more = list(below), True
        while more and len(entries) - len(below) < limit:
            found = await self._histories.page(viewer_id, limit, place)
            for entry in found.entries:
                is_last = entry is found.entries[-1]
                place = HistoryPlace(entry.key, found.state if is_last else "")
                if entry.video_id not in waiting:
                    entries.append(entry)
                    places.append(place)
            more = found.more
        order = sorted(range(len(entries)), key=lambda i: entries[i].key, reverse=True)
        return HistoryPage(
            [(entries[i], self._seal(places[i], bound_to)) for i in order[:limit]],
            has_more=more or len(entries) > limit,
        )

    async def _waiting(self, viewer_id: int) -> dict[int, HistoryEntry]:
        """By video, the last of the viewer's newest watches that the history does not have yet."""
        newest: dict[int, HistoryEntry] = {}
        for entry in await self._log.recent(viewer_id, RECENT_WATCHES):
            newest.setdefault(entry.video_id, entry)
        known = await self._histories.last(viewer_id, list(newest)) if newest else {}
        return {i: entry for i, entry in newest.items() if entry.watched_at_ms > known.get(i, -1)}

    def _seal(self, place: HistoryPlace, bound_to: str) -> str:
        return self._tokens.seal(*place.key, *([place.state] if place.state else []), bound_to=bound_to)

    async def view_counts(self, viewer_id: int, video_ids: Sequence[int]) -> list[tuple[int, int]]:
        """Video and number of views, in the order asked; zero for an unknown one."""
        counts = await self._counts.of(viewer_id, list(dict.fromkeys(video_ids)))
        return [(video_id, counts.get(video_id, 0)) for video_id in video_ids]


def _place(values: Sequence[Any]) -> HistoryPlace:
    at_ms, video_id, *state = values
    return HistoryPlace((int(at_ms), int(video_id)), str(state[0]) if state else "")
