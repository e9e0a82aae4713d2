"""Reads of reports, all from truth."""

from __future__ import annotations

from dataclasses import dataclass

from graph_svc.moderation.store import Report, ReportStore
from svc_kit.paging import TokenSigner, page_size


@dataclass(frozen=True, slots=True)
class ReportPage:
    """Open reports, oldest first."""

    reports: list[Report]
    next_page_token: str


class ModerationQueries:
    """Answers about reports."""

    def __init__(self, store: ReportStore, pages: TokenSigner) -> None:
        self._store = store
        self._pages = pages

    async def open_reports(self, size: int, token: str) -> ReportPage:
        """A page of open reports; at most 100, 50 when `size` is 0."""
        limit = page_size(size)
        after_id = int(self._pages.open(token, bound_to="reports")[0]) if token else 0
        found = await self._store.open_reports(after_id, limit + 1)
        more = self._pages.seal(found[limit - 1].id, bound_to="reports") if len(found) > limit else ""
        return ReportPage(found[:limit], more)
