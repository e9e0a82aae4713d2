"""Search as you type, and the videos of hashtags: what the caller may not see is left out and the page refilled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from feed_svc.search.store import AccountDirectory, HashtagRow, HashtagStore, Hit, Kind, SearchIndex, VideoDirectory
from feed_svc.search.words import plain
from svc_kit.caller import Caller
from svc_kit.paging import TokenSigner
from svc_kit.text import normalise_hashtag

REFILLS = 10
LEAST_WINDOW, MOST_WINDOW = 30, 200


@dataclass(frozen=True, slots=True)
class Found:
    """One result that the caller may see."""

    kind: Kind
    id: int
    """Of the video or account; 0 for a hashtag."""
    hashtag: HashtagRow | None
    page_token: str


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Results and whether more follow."""

    hits: Sequence[Found]
    has_more: bool


@dataclass(frozen=True, slots=True)
class HashtagVideos:
    """Video ids with their tokens, and whether more follow."""

    entries: Sequence[tuple[int, str]]
    has_more: bool


class SearchQueries:
    """Reads of `SearchService`."""

    def __init__(
        self,
        index: SearchIndex,
        hashtags: HashtagStore,
        videos: VideoDirectory,
        accounts: AccountDirectory,
        signer: TokenSigner,
        depth: int,
    ) -> None:
        self._index = index
        self._hashtags = hashtags
        self._videos = videos
        self._accounts = accounts
        self._signer = signer
        self._depth = depth

    async def search(self, caller: Caller, query: str, kinds: Sequence[Kind], size: int, token: str) -> SearchPage:
        """The best results of `kinds` (none: all). The token belongs to its query and kinds."""
        kinds = sorted(set(kinds)) or list(Kind)
        bound = f"search {','.join(kinds)} {plain(query).strip()}"
        offset = int(self._signer.open(token, bound_to=bound)[0]) if token else 0
        found: list[Found] = []
        window = min(MOST_WINDOW, max(LEAST_WINDOW, 2 * size))
        for _ in range(REFILLS):
            hits = await self._index.search(query, kinds, min(window, self._depth - offset), offset)
            names = await self._hashtags.get([hit.key[1] for hit in hits if hit.key[0] is Kind.HASHTAG])
            hidden = await self._hidden(caller, hits)
            for place, hit in enumerate(hits, start=offset + 1):
                kind, name = hit.key
                row = names.get(name) if kind is Kind.HASHTAG else None
                if hit.key not in hidden and (kind is not Kind.HASHTAG or row):
                    number = 0 if row else int(name)
                    found.append(Found(kind, number, row, self._signer.seal(place, bound_to=bound)))
            offset += window
            if len(found) > size or len(hits) < window or offset >= self._depth:
                break
        return SearchPage(found[:size], len(found) > size)

    async def _hidden(self, caller: Caller, hits: Sequence[Hit]) -> set[tuple[Kind, str]]:
        """Hits that the caller may not see: asked of those who decide it."""
        videos = [int(name) for kind, name in (hit.key for hit in hits) if kind is Kind.VIDEO]
        users = [int(name) for kind, name in (hit.key for hit in hits) if kind is Kind.USER]
        seen, blocked = await asyncio.gather(
            self._videos.visible(caller, videos), self._accounts.blocked(caller, users)
        )
        hidden = {(Kind.VIDEO, str(video)) for video in videos if video not in seen}
        return hidden | {(Kind.USER, str(user)) for user in users if user in blocked}

    async def hashtags(self, names: Sequence[str]) -> Sequence[HashtagRow]:
        """Hashtags with public videos, in the order asked; names with or without `#`."""
        wanted = list(dict.fromkeys(name for name in map(normalise_hashtag, names) if name))
        found = await self._hashtags.get(wanted)
        return [found[name] for name in wanted if name in found]

    async def hashtag_videos(self, caller: Caller, name: str, size: int, token: str) -> HashtagVideos:
        """Public videos with a hashtag that the caller may see, newest first."""
        wanted = normalise_hashtag(name)
        if wanted is None:
            return HashtagVideos([], has_more=False)
        bound = f"hashtag {wanted}"
        opened = self._signer.open(token, bound_to=bound) if token else None
        before = (int(opened[0]), int(opened[1])) if opened else None
        entries: list[tuple[int, str]] = []
        window = min(MOST_WINDOW, max(LEAST_WINDOW, 2 * size))
        for _ in range(REFILLS):
            places = await self._hashtags.videos(wanted, window, before)
            seen = await self._videos.visible(caller, [video_id for _, video_id in places])
            entries += [(place[1], self._signer.seal(*place, bound_to=bound)) for place in places if place[1] in seen]
            if len(entries) > size or len(places) < window:
                break
            before = places[-1]
        return HashtagVideos(entries[:size], len(entries) > size)
