"""Subscriptions on a cluster: each channel on the server that has its slot."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from svc_kit.cache import CacheDown, CacheError, Message
from svc_kit.caches.node import Node
from svc_kit.caches.subscription import NodeSubscription
from svc_kit.caches.topology import Topology, slot_of
from svc_kit.ending import cancel_all

WAITING = 1000
"""Messages that wait for `next`; then the servers wait."""
_READ_S = 30.0


class ShardedSubscription:
    """`svc_kit.cache.Subscription`: one connection to each server that has any of the channels.

    It ends as a whole: when one server is lost or a channel's slot moves, its owner begins anew."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._parts: dict[Node, NodeSubscription] = {}
        self._readers: list[asyncio.Task[None]] = []
        self._received: asyncio.Queue[Message | CacheError] = asyncio.Queue(WAITING)

    async def add(self, *channels: str) -> None:
        for node, its in self._by_node(channels).items():
            is_new = node not in self._parts
            if is_new:
                self._parts[node] = node.subscription(sharded=True)
            try:
                # One at a time: channels of several slots are refused together.
                for channel in its:
                    await self._parts[node].add(channel)
            except CacheError:
                self._topology.stale()
                raise
            if is_new:
                self._readers.append(asyncio.create_task(self._read(self._parts[node]), name=f"sharded {node.name}"))

    async def remove(self, *channels: str) -> None:
        for node, its in self._by_node(channels).items():
            if node in self._parts:
                for channel in its:
                    await self._parts[node].remove(channel)

    async def next(self, timeout_s: float) -> Message | None:
        try:
            async with asyncio.timeout(timeout_s):
                found = await self._received.get()
        except TimeoutError:
            return None
        if isinstance(found, CacheError):
            raise found
        return found

    async def aclose(self) -> None:
        """Give the connections back."""
        await cancel_all(self._readers)
        for part in self._parts.values():
            await part.aclose()

    def _by_node(self, channels: tuple[str, ...]) -> dict[Node, list[str]]:
        found: defaultdict[Node, list[str]] = defaultdict(list)
        for channel in channels:
            node = self._topology.node_of(slot_of(channel))
            if node is None:
                self._topology.stale()
                raise CacheDown("the cluster does not cover a channel's slot")
            found[node].append(channel)
        return found

    async def _read(self, part: NodeSubscription) -> None:
        while True:
            try:
                message = await part.next(_READ_S)
            except CacheError as error:
                self._topology.stale()
                await self._received.put(error)
                return
            if message is not None:
                await self._received.put(message)
