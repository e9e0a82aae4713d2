"""Videos as a viewer may see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from media_svc.videos.store import Relation, Relations, VideoRow, VideoState, VideoStore
from media_svc.videos.visibility import least_audience, may_view, needs_relation
from svc_kit.caller import Caller
from svc_kit.errors import forbidden, invalid
from svc_kit.paging import TokenSigner, page_size

MAX_AUTHORS_ASKED = 1000


@dataclass(frozen=True, slots=True)
class VideoEntry:
    """One video of a list, and the token that continues after it."""

    row: VideoRow
    page_token: str


@dataclass(frozen=True, slots=True)
class VideoPage:
    """`next_page_token` is empty at the end."""

    entries: tuple[VideoEntry, ...]
    next_page_token: str


class VideoQueries:
    """See `VideoService`. When relations that matter can't be had it raises: nothing is shown that might be hidden."""

    def __init__(self, store: VideoStore, relations: Relations, pages: TokenSigner) -> None:
        self._store = store
        self._relations = relations
        self._pages = pages

    async def videos(self, caller: Caller, ids: Sequence[int], *, unfiltered: bool = False) -> list[VideoRow]:
        """Videos that the viewer may see, in the order asked. `unfiltered`, for services: all but deleted ones."""
        if unfiltered and not caller.is_service:
            raise forbidden("unfiltered", "Only a service may ask for what a viewer may not see.")
        found = {row.id: row for row in await self._store.videos(list(dict.fromkeys(ids)))}
        asked = [found[video_id] for video_id in dict.fromkeys(ids) if video_id in found]
        if unfiltered:
            return [row for row in asked if row.state is not VideoState.DELETED]
        return await self._visible(caller, asked)

    async def author_of(self, video_id: int) -> int:
        """Who published a video, also a deleted one; 0 for an unknown one."""
        rows = await self._store.videos([video_id])
        return rows[0].author_id if rows else 0

    async def author_videos(self, caller: Caller, author_id: int, size: int, token: str) -> VideoPage:
        """An author's videos that the viewer may see, newest first."""
        limit = page_size(size)
        before = self._before(token, author_id)
        relations: Mapping[int, Relation] = {}
        if caller.user_id and caller.user_id != author_id:
            relations = await self._relations.relations(caller, [author_id])
        least = least_audience(caller.user_id, author_id, relations.get(author_id))
        if least is None:
            return VideoPage((), "")
        ids = await self._store.author_videos(author_id, least, before, limit + 1)
        rows = {row.id: row for row in await self._store.videos(ids[:limit])}
        entries = tuple(
            VideoEntry(rows[video_id], self._token(video_id, author_id))
            for video_id in ids[:limit]
            if video_id in rows and _may_view(caller, rows[video_id], relations)
        )
        return VideoPage(entries, self._token(ids[limit - 1], author_id) if len(ids) > limit else "")

    async def counts(self, author_ids: Sequence[int]) -> list[int]:
        """READY public videos of each author, in the order asked."""
        found = await self._store.counts(list(dict.fromkeys(author_ids)))
        return [found.get(author_id, 0) for author_id in author_ids]

    async def published(self, size: int, after_id: int) -> Sequence[VideoRow]:
        """READY videos of any visibility by ascending id."""
        return await self._store.published(after_id, page_size(size, default=500, most=1000))

    async def _visible(self, caller: Caller, rows: Sequence[VideoRow]) -> list[VideoRow]:
        viewer = caller.user_id
        authors = {row.author_id for row in rows if needs_relation(viewer, row.author_id, row.state, row.visibility)}
        relations = await self._relations.relations(caller, sorted(authors)) if authors else {}
        return [row for row in rows if _may_view(caller, row, relations)]

    def _token(self, video_id: int, author_id: int) -> str:
        return self._pages.seal(video_id, bound_to=f"author:{author_id}")

    def _before(self, token: str, author_id: int) -> int:
        if not token:
            return 0
        values = self._pages.open(token, bound_to=f"author:{author_id}")
        if len(values) != 1 or not isinstance(values[0], int):
            raise invalid("page_token", "This cursor is malformed.")
        return values[0]


def _may_view(caller: Caller, row: VideoRow, relations: Mapping[int, Relation]) -> bool:
    return may_view(caller.user_id, row.author_id, relations.get(row.author_id), row.state, row.visibility)
