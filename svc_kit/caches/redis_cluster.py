"""A Redis Cluster: each call goes to the primary that has its slot, calls of one server in one round trip.

redis-py's own cluster client drops every connection to a server that was late once, asks for the topology under one
lock and tries again by itself; here each server has the bounds and the breaker that a single one has.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

from svc_kit.cache import CacheDown, CacheError, Call, Subscription
from svc_kit.caches.address import parse
from svc_kit.caches.checks import inspect_cluster
from svc_kit.caches.commands import Commands
from svc_kit.caches.node import Node, connect
from svc_kit.caches.sharded import ShardedSubscription
from svc_kit.caches.topology import Topology, slot_of
from svc_kit.clock import Clock

ROUNDS = 4
"""Times that a call is sent while slots move."""
TRY_AGAIN_S = 0.05

Target = tuple[Node, bool]
"""A server, and whether the slot is only about to move there."""


class ClusterCache(Commands):
    """`Cache` on a cluster."""

    publish_command = "SPUBLISH"

    def __init__(self, topology: Topology, clock: Clock) -> None:
        self._topology = topology
        self._clock = clock

    async def replies(self, calls: Sequence[Call]) -> list[Any]:
        try:
            await self._topology.ready()
        except CacheError as error:
            return [error] * len(calls)
        replies: list[Any] = [None] * len(calls)
        targets = {place: self._target(call) for place, call in enumerate(calls)}
        for _ in range(ROUNDS):
            await self._send(calls, targets, replies)
            targets = {place: target for place in targets if (target := self._redirected(replies[place], calls[place]))}
            if not targets:
                break
            if any(isinstance(replies[place], TryAgainError) for place in targets):
                await self._clock.sleep(TRY_AGAIN_S)
        return replies

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Subscription]:
        await self._topology.ready()
        subscription = ShardedSubscription(self._topology)
        try:
            yield subscription
        finally:
            await subscription.aclose()

    async def nodes(self) -> Sequence[Node]:
        await self._topology.ready()
        return self._topology.primaries()

    async def aclose(self) -> None:
        await self._topology.aclose()

    def _target(self, call: Call) -> Target | None:
        node = self._topology.node_of(slot_of(call.key))
        return None if node is None else (node, False)

    async def _send(self, calls: Sequence[Call], targets: dict[int, Target | None], replies: list[Any]) -> None:
        """Fill in the replies of the calls in `targets`."""
        groups: defaultdict[Target, list[int]] = defaultdict(list)
        for place, target in targets.items():
            if target is None:
                replies[place] = CacheDown("the cluster does not cover the key's slot")
                self._topology.stale()
            else:
                groups[target].append(place)
        jobs = [self._ask(target, [calls[place] for place in places]) for target, places in groups.items()]
        answers = [await jobs[0]] if len(jobs) == 1 else await asyncio.gather(*jobs)
        for places, answer in zip(groups.values(), answers, strict=True):
            for place, reply in zip(places, answer, strict=True):
                replies[place] = reply

    async def _ask(self, target: Target, calls: Sequence[Call]) -> list[Any]:
        node, asking = target
        try:
            return await node.execute(calls, asking=asking)
        except CacheError as error:
            # Perhaps a replica has taken over.
            self._topology.stale()
            return [error] * len(calls)

    def _redirected(self, reply: Any, call: Call) -> Target | None:
        """Where to send a call next; None when it has its reply."""
        match reply:
            case MovedError():  # Before AskError, whose subclass it is.
                node = self._at(reply, call)
                self._topology.moved(reply.slot_id, node)
                return node, False
            case AskError():
                return self._at(reply, call), True
            case TryAgainError():
                return self._target(call)
            case ClusterDownError():
                self._topology.stale()
        return None

    def _at(self, error: AskError, call: Call) -> Node:
        host = str(error.host)
        if not host:  # The server that answered does not know its own address.
            known = self._topology.node_of(slot_of(call.key))
            host = known.name.rpartition(":")[0] if known else ""
        return self._topology.at(host, int(error.port))


async def open(url: str, clock: Clock) -> ClusterCache:
    """A cache on the cluster that the servers at `url` belong to; nothing is contacted yet."""
    address = parse(url, many=True)
    topology = Topology(address.hosts, lambda host, port: connect(address, host, port, clock), clock)
    return ClusterCache(topology, clock)


async def verify(url: str) -> str:
    """See `svc_kit.backends`."""
    return await inspect_cluster(parse(url, many=True))
