"""Keeps the follow graph: applies events as they come, or makes all of it again from truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from graph_svc.follows.store import Edge, FollowGraph, FollowStore
from reelgraph.events.v1.event_pb2 import Event
from svc_kit.bus.runner import Envelope
from svc_kit.clock import Clock, now_ms
from svc_kit.ids import IdGenerator, least_id

GROUP = "graph.follow_graph"
TOPICS = ("follow", "viewer")
REBUILD_PAGE = 5000
PRUNE_PAGE = 1000
DAY_MS: Final = 24 * 3600 * 1000
HOUR_MS: Final = 3600 * 1000


@dataclass(frozen=True, slots=True)
class Kept:
    """How long the graph remembers that a follow ended."""

    clock: Clock
    days: int

    def since_id(self) -> int:
        """Ends with an id below are forgotten."""
        return least_id(now_ms(self.clock) - self.days * DAY_MS)

    def sure_since_id(self) -> int:
        """Ends with this id or above are there, also while another process, whose clock is ahead, is pruning."""
        return least_id(now_ms(self.clock) - self.days * DAY_MS + HOUR_MS)


class FollowGraphHandler:
    """A handler of `GROUP`."""

    def __init__(self, graph: FollowGraph, store: FollowStore, kept: Kept) -> None:
        self._graph = graph
        self._store = store
        self._kept = kept

    async def handle(self, batch: Sequence[Envelope]) -> None:
        edges = [edge for envelope in batch if (edge := edge_of(envelope.event)) is not None]
        if edges:
            await self._graph.apply(await self._true(edges))
        if seen := activity_of([envelope.event for envelope in batch]):
            await self._graph.note_active(seen)

    async def _true(self, edges: Sequence[Edge]) -> Sequence[Edge]:
        """The edges, those that are older than what the graph remembers as truth has them now."""
        sure = self._kept.sure_since_id()
        old = sorted({(edge.from_id, edge.to_id) for edge in edges if edge.event_id < sure})
        if not old:
            return edges
        return [*(edge for edge in edges if edge.event_id >= sure), *await self._store.follows(old)]


def edge_of(event: Event) -> Edge | None:
    """The follow that an event leaves; None when it is about something else."""
    match event.WhichOneof("body"):
        case "follow_created":
            ends, active = (event.follow_created.follower_id, event.follow_created.followee_id), True
        case "follow_deleted":
            ends, active = (event.follow_deleted.follower_id, event.follow_deleted.followee_id), False
        case _:
            return None
    return Edge(*ends, active=active, version=event.entity_version, event_id=event.id)


def activity_of(events: Sequence[Event]) -> dict[int, int]:
    """The greatest activity that events tell of, by viewer."""
    seen: dict[int, int] = {}
    for event in events:
        if event.WhichOneof("body") == "viewer_active":
            body = event.viewer_active
            seen[body.user_id] = max(seen.get(body.user_id, 0), body.active_at_ms)
    return seen


async def prune_follow_graph(graph: FollowGraph, kept: Kept) -> int:
    """Forget some of the follows that ended long ago; how many, 0 when none is left."""
    return await graph.prune(kept.since_id(), PRUNE_PAGE)


async def rebuild_follow_graph(store: FollowStore, graph: FollowGraph, ids: IdGenerator, kept: Kept) -> int:
    """Make the graph hold what truth holds; how many follows that is. Safe while serving: later changes stay. Activity
    of accounts is not touched: `reelgraph rebuild viewer_activity` tells of it again."""
    started, key, active = ids.next(), (0, 0), 0
    while True:
        edges = await store.follows_after(key, REBUILD_PAGE)
        last = len(edges) < REBUILD_PAGE
        upto = None if last else (edges[-1].from_id, edges[-1].to_id)
        remembered = kept.since_id()
        held = [edge for edge in edges if edge.active or edge.event_id >= remembered]
        await graph.replace(key, upto, held, before_id=started)
        active += sum(edge.active for edge in edges)
        if upto is None:
            return active
        key = upto
