"""Keeps the follow graph: applies events as they come, or makes all of it again from truth."""

from __future__ import annotations

from collections.abc import Sequence

from graph_svc.follows.store import Edge, FollowGraph, FollowStore
from reelgraph.events.v1.event_pb2 import Event
from svc_kit.bus.runner import Envelope
from svc_kit.ids import IdGenerator

GROUP = "graph.follow_graph"
TOPICS = ("follow",)
REBUILD_PAGE = 5000


class FollowGraphHandler:
    """A handler of `GROUP`."""

    def __init__(self, graph: FollowGraph) -> None:
        self._graph = graph

    async def handle(self, batch: Sequence[Envelope]) -> None:
        edges = [edge for envelope in batch if (edge := edge_of(envelope.event)) is not None]
        if edges:
            await self._graph.apply(edges)


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


async def rebuild_follow_graph(store: FollowStore, graph: FollowGraph, ids: IdGenerator) -> int:
    """Make the graph hold what truth holds; how many follows that is. Safe while serving: later changes stay."""
    started, key, active = ids.next(), (0, 0), 0
    while True:
        edges = await store.follows_after(key, REBUILD_PAGE)
        last = len(edges) < REBUILD_PAGE
        upto = None if last else (edges[-1].from_id, edges[-1].to_id)
        await graph.replace(key, upto, edges, before_id=started)
        active += sum(edge.active for edge in edges)
        if upto is None:
            return active
        key = upto
