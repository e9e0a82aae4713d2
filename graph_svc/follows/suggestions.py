"""Accounts that a viewer might follow, each with a true reason."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from graph_svc.follows.popular import PopularAccounts
from graph_svc.follows.queries import FollowQueries
from graph_svc.follows.store import FollowGraph, FriendOfFriend, Neighbour
from svc_kit.paging import TokenSigner, page_size

MAX_CANDIDATES = 200
MAX_VIA = 3


class SuggestionKind(IntEnum):
    """Why an account is suggested, the best reason first; the numbers are the proto's."""

    FRIENDS_FOLLOW = 1
    FOLLOWS_YOU = 2
    POPULAR = 3


@dataclass(frozen=True, slots=True)
class Suggested:
    """One suggested account, and the token that continues after it."""

    user_id: int
    kind: SuggestionKind
    via_ids: Sequence[int]
    page_token: str


@dataclass(frozen=True, slots=True)
class SuggestionPage:
    """A page of suggestions; the token is empty at the end."""

    suggestions: Sequence[Suggested]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    user_id: int
    kind: SuggestionKind
    score: int
    via_ids: tuple[int, ...] = ()

    @property
    def place(self) -> tuple[int, int, int]:
        """Orders candidates, best first, the same at every page."""
        return (int(self.kind), -self.score, self.user_id)


class SuggestionQueries:
    """Friends of friends, then who follows the viewer, then who is popular."""

    def __init__(
        self, graph: FollowGraph, popular: PopularAccounts, follows: FollowQueries, tokens: TokenSigner
    ) -> None:
        self._graph = graph
        self._popular = popular
        self._follows = follows
        self._tokens = tokens

    async def suggestions(self, viewer_id: int, size: int, token: str) -> SuggestionPage:
        """A page, best first, without the viewer, and whom they follow, block (either way) or mute."""
        limit, bound = page_size(size, default=20), f"suggestions:{viewer_id}"
        after = tuple(self._tokens.open(token, bound_to=bound)) if token else ()
        friends, followers, popular = await asyncio.gather(
            self._graph.friends_of_friends(viewer_id, MAX_CANDIDATES),
            self._graph.followers(viewer_id, 0, MAX_CANDIDATES),
            self._popular.get(),
        )
        candidates = await self._allowed(viewer_id, _ranked(friends, followers, popular))
        rest = [c for c in candidates if c.place > after]
        page = [
            Suggested(c.user_id, c.kind, c.via_ids, self._tokens.seal(*c.place, bound_to=bound)) for c in rest[:limit]
        ]
        return SuggestionPage(page, page[-1].page_token if len(rest) > limit else "")

    async def _allowed(self, viewer_id: int, candidates: Sequence[_Candidate]) -> list[_Candidate]:
        """What truth still bears out: the graph may be a moment behind."""
        ids = {c.user_id for c in candidates} | {via for c in candidates for via in c.via_ids}
        relations = {r.user_id: r for r in await self._follows.relations(viewer_id, sorted(ids))}
        allowed = []
        for c in candidates:
            relation = relations[c.user_id]
            if c.user_id == viewer_id or relation.follows or relation.blocked or relation.mutes:
                continue
            if c.kind is SuggestionKind.FOLLOWS_YOU and not relation.followed_by:
                continue
            via = tuple(v for v in c.via_ids if relations[v].follows)[:MAX_VIA]
            if c.kind is SuggestionKind.FRIENDS_FOLLOW and not via:
                continue
            allowed.append(_Candidate(c.user_id, c.kind, c.score, via))
        return allowed


def _ranked(
    friends: Iterable[FriendOfFriend], followers: Iterable[Neighbour], popular: Iterable[tuple[int, int]]
) -> list[_Candidate]:
    """Every account once, by its best reason."""
    found = [
        *(_Candidate(f.user_id, SuggestionKind.FRIENDS_FOLLOW, f.paths, f.via_ids) for f in friends),
        *(_Candidate(n.user_id, SuggestionKind.FOLLOWS_YOU, n.since_id) for n in followers),
        *(_Candidate(user_id, SuggestionKind.POPULAR, count) for user_id, count in popular),
    ]
    best: dict[int, _Candidate] = {}
    for candidate in sorted(found, key=lambda c: c.place):
        best.setdefault(candidate.user_id, candidate)
    return list(best.values())
