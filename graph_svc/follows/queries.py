"""Everything that reads follows, blocks and mutes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from graph_svc.follows.blocks import KnownBlocks
from graph_svc.follows.counting import FollowCounts, counts_of, own_counts
from graph_svc.follows.store import FollowerPage, FollowGraph, FollowStore, Neighbour, Relation
from svc_kit.caller import Caller
from svc_kit.errors import AppError
from svc_kit.last_known import TRUTH_S, within
from svc_kit.paging import TokenSigner, page_size
from svc_kit.transient import is_transient

MAX_VIEWER_FOLLOWEES = 5000
MAX_FOLLOWER_IDS = 10_000
MAX_SEVERED = 1000
RELATIONS_A_READ = 1000
# A page whose entries are nearly all hidden ends early rather than reading on for ever; its token goes on.
MAX_REFILLS = 5


@dataclass(frozen=True, slots=True)
class ListedAccount:
    """One entry of a list, and the token that continues after it."""

    user_id: int
    page_token: str


@dataclass(frozen=True, slots=True)
class AccountPage:
    """A page of a list; the token is empty at the end."""

    entries: Sequence[ListedAccount]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class ViewerGraph:
    """One viewer's relations, from truth."""

    followee_ids: Sequence[int]
    friend_ids: Sequence[int]
    blocked_ids: Sequence[int]
    muted_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Slice:
    """Part of a list, newest first."""

    items: Sequence[Neighbour]
    last_id: int
    """The slice after it begins below this one; 0 at the end of the list."""


_Fetch = Callable[[int, int], Awaitable[_Slice]]


class FollowQueries:
    """Relations from truth; lists and numbers from the graph, with the viewer's own edges from truth."""

    def __init__(self, store: FollowStore, graph: FollowGraph, blocks: KnownBlocks, tokens: TokenSigner) -> None:
        self._store = store
        self._graph = graph
        self._blocks = blocks
        self._tokens = tokens

    async def relations(self, viewer_id: int, user_ids: Sequence[int]) -> Sequence[Relation]:
        """How the viewer stands to each, in the order asked."""
        found = await self._relations(viewer_id, user_ids)
        return [found[user_id] for user_id in user_ids]

    async def sight_relations(self, viewer_id: int, user_ids: Sequence[int]) -> Sequence[Relation]:
        """As `relations`; while truth can't be read, by the blocks that were last known. Raises UNAVAILABLE when those
        are not known either."""
        try:
            async with within(TRUTH_S):
                return await self.relations(viewer_id, user_ids)
        except AppError as error:
            known = await self._blocks.relations(viewer_id, user_ids) if is_transient(error) else None
            if known is None:
                raise
            return [known[user_id] for user_id in user_ids]

    async def blocked(self, viewer_id: int, user_ids: Sequence[int]) -> AbstractSet[int]:
        """Those of the accounts that a block, of either side, keeps from the viewer."""
        found = await self._relations(viewer_id, user_ids)
        return {user_id for user_id, relation in found.items() if relation.blocked}

    async def hidden(self, viewer_id: int, user_ids: Sequence[int]) -> AbstractSet[int]:
        """Those of the accounts that a block or the viewer's mute keeps from the viewer."""
        found = await self._relations(viewer_id, user_ids)
        return {user_id for user_id, relation in found.items() if relation.blocked or relation.mutes}

    async def _relations(self, viewer_id: int, user_ids: Sequence[int]) -> Mapping[int, Relation]:
        ids = sorted(set(user_ids))
        found: dict[int, Relation] = {}
        for i in range(0, len(ids), RELATIONS_A_READ):
            found.update(await self._store.relations(viewer_id, ids[i : i + RELATIONS_A_READ]))
        return found

    async def counts(self, caller: Caller, user_ids: Sequence[int]) -> Sequence[FollowCounts]:
        """Numbers of each account, in the order asked; zeros for an unknown one."""
        viewer = caller.user_id
        own = viewer in user_ids and viewer != 0
        severed = sorted(await self._store.blocking(viewer))[:MAX_SEVERED] if own else []
        # The graph first: what it shows of the viewer's edges is then never ahead of the truth read after it.
        degrees = await self._graph.degrees(user_ids, viewer, severed)
        relations = await self._relations(viewer, user_ids)
        counts = {user_id: counts_of(degrees[user_id], relations[user_id]) for user_id in set(user_ids)}
        if own:
            counts[viewer] = own_counts(viewer, degrees[viewer], await self._store.followee_count(viewer))
        return [counts[user_id] for user_id in user_ids]

    async def followers(self, caller: Caller, user_id: int, size: int, token: str) -> AccountPage:
        """Who follows an account, newest first."""

        async def fetch(before_id: int, limit: int) -> _Slice:
            found = _slice(await self._graph.followers(user_id, before_id, limit), limit)
            if not caller.user_id or caller.user_id == user_id:
                return found
            edge = await self._store.follow(caller.user_id, user_id)
            own = Neighbour(caller.user_id, edge.event_id) if edge and edge.active else None
            return _with_own(found, caller.user_id, own, before_id)

        return await self._page(caller, user_id, "followers", fetch, size, token)

    async def followees(self, caller: Caller, user_id: int, size: int, token: str) -> AccountPage:
        """Whom an account follows, newest first."""
        # One's own are read from truth; of others' follows, only a block of the viewer's own changes any.
        source = self._store if caller.user_id == user_id else self._graph

        async def fetch(before_id: int, limit: int) -> _Slice:
            return _slice(await source.followees(user_id, before_id, limit), limit)

        return await self._page(caller, user_id, "followees", fetch, size, token)

    async def _page(self, caller: Caller, user_id: int, name: str, fetch: _Fetch, size: int, token: str) -> AccountPage:
        limit, bound = page_size(size), f"{name}:{user_id}"
        before = int(self._tokens.open(token, bound_to=bound)[0]) if token else 0
        if await self.blocked(caller.user_id, [user_id]):
            return AccountPage([], "")
        shown: list[Neighbour] = []
        for _ in range(MAX_REFILLS):
            found = await fetch(before, limit + 1)
            hidden = await self.blocked(caller.user_id, [n.user_id for n in found.items])
            shown += [n for n in found.items if n.user_id not in hidden]
            before = found.last_id
            if not before or len(shown) > limit:
                break
        last = shown[limit - 1].since_id if len(shown) > limit else before
        entries = [ListedAccount(n.user_id, self._tokens.seal(n.since_id, bound_to=bound)) for n in shown[:limit]]
        return AccountPage(entries, self._tokens.seal(last, bound_to=bound) if last else "")

    async def follower_ids(self, user_id: int, size: int, after_id: int, active_since_ms: int = 0) -> FollowerPage:
        """Who follows an account, by ascending id, all or those who were active at `active_since_ms` or later: for
        fan-out."""
        limit = page_size(size, default=MAX_FOLLOWER_IDS, most=MAX_FOLLOWER_IDS)
        if active_since_ms:
            return await self._graph.active_follower_ids(user_id, after_id, limit, active_since_ms)
        found = await self._graph.follower_ids(user_id, after_id, limit)
        return FollowerPage(found, found[-1] if len(found) == limit else 0)

    async def known_activity(self, user_id: int) -> int:
        """When an account last read a feed, as far as the graph knows, in milliseconds since 1970; 0: not known."""
        return await self._graph.active_at(user_id)

    async def viewer_graph(self, viewer_id: int) -> ViewerGraph:
        """Everything a feed must know of a viewer's relations."""
        began_ms = self._blocks.now_ms()
        followees = [n.user_id for n in await self._store.followees(viewer_id, 0, MAX_VIEWER_FOLLOWEES)]
        relations = await self._relations(viewer_id, followees)
        blocked = await self._store.blocking(viewer_id) | await self._store.blocked_by(viewer_id)
        await self._blocks.learnt(viewer_id, sorted(blocked), began_ms)
        return ViewerGraph(
            followees,
            [user_id for user_id in followees if relations[user_id].followed_by],
            sorted(blocked),
            sorted(await self._store.muting(viewer_id)),
        )


def _slice(found: Sequence[Neighbour], limit: int) -> _Slice:
    return _Slice(found, found[-1].since_id if len(found) == limit else 0)


def _with_own(found: _Slice, viewer_id: int, own: Neighbour | None, before_id: int) -> _Slice:
    """The slice with the viewer's own entry only where truth has it."""
    items = [n for n in found.items if n.user_id != viewer_id]
    within = own is not None and (not before_id or own.since_id < before_id) and own.since_id >= found.last_id
    if own is not None and within:
        items = sorted([*items, own], key=lambda n: -n.since_id)
    return _Slice(items, found.last_id)
