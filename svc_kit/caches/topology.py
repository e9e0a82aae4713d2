"""Which server of a cluster holds which slot, kept by asking and by what servers tell."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from svc_kit.cache import CacheDown, CacheError, Call
from svc_kit.caches.node import Node
from svc_kit.clock import Clock
from svc_kit.ending import cancel_all
from svc_kit.telemetry import log

ASKED_AT_ONCE = 3
EVERY_S = 1.0
"""The slots are asked for no more often than this, whatever happens; less or more by half, by chance."""
_SLOTS = Call("", ("CLUSTER", "SLOTS"))
_log = log(__name__)

Place = tuple[str, int]
Range = tuple[int, int, Place]
"""First and last slot, and who has them."""


def slot_of(key: str) -> int:
    """The slot of a key or a sharded channel."""
    return key_slot(key.encode())


class Topology:
    """Primaries by slot. One question at a time, to a few servers at once: the first whole answer counts."""

    def __init__(self, seeds: Sequence[Place], connect: Callable[[str, int], Node], clock: Clock) -> None:
        self._seeds = tuple(seeds)
        self._connect = connect
        self._clock = clock
        self._nodes: dict[Place, Node] = {}
        self._slots: list[Node | None] = []
        self._asking: asyncio.Task[None] | None = None
        self._not_before = float("-inf")
        self._closing: set[asyncio.Task[None]] = set()

    async def ready(self) -> None:
        """Return when the slots are known, even if not to the latest; raises `CacheError` when no server tells."""
        if self._slots:
            return
        task = self._ask()
        if task is None:
            raise CacheDown("no server of the cluster has answered")
        await asyncio.shield(task)
        if not self._slots:
            raise CacheDown("no server of the cluster answers")

    def node_of(self, slot: int) -> Node | None:
        """The primary of a slot; None when the cluster has none."""
        return self._slots[slot] if self._slots else None

    def at(self, host: str, port: int) -> Node:
        """The server there."""
        if (host, port) not in self._nodes:
            self._nodes[host, port] = self._connect(host, port)
        return self._nodes[host, port]

    def moved(self, slot: int, node: Node) -> None:
        """A server told that another one has the slot."""
        self._slots[slot] = node
        self.stale()

    def stale(self) -> None:
        """Something went otherwise than the slots say: ask again, in the background."""
        self._ask()

    def primaries(self) -> list[Node]:
        """The servers that have slots."""
        return list({id(node): node for node in self._slots if node is not None}.values())

    async def aclose(self) -> None:
        """Close all connections."""
        if self._asking is not None:
            await cancel_all([self._asking])
        await asyncio.gather(*self._closing, *(node.aclose() for node in self._nodes.values()))

    def _ask(self) -> asyncio.Task[None] | None:
        """The question now on its way; None when it is too early for one."""
        if self._asking is not None and not self._asking.done():
            return self._asking
        now = self._clock.monotonic()
        if now < self._not_before:
            return None
        self._not_before = now + EVERY_S * random.uniform(0.5, 1.5)
        self._asking = asyncio.create_task(self._load(), name="cluster slots")
        return self._asking

    async def _load(self) -> None:
        candidates = [node for node in self.primaries() if not node.is_down]
        candidates += [node for place in self._seeds if (node := self.at(*place)) not in candidates]
        random.shuffle(candidates)
        candidates.sort(key=lambda node: node.is_down)
        for start in range(0, len(candidates), ASKED_AT_ONCE):
            if await self._load_from(candidates[start : start + ASKED_AT_ONCE]):
                return
        _log.warning("no server tells the cluster's slots", asked=len(candidates))

    async def _load_from(self, nodes: Sequence[Node]) -> bool:
        best: list[Range] = []
        tasks = [asyncio.create_task(self._slots_by(node)) for node in nodes]
        try:
            for answer in asyncio.as_completed(tasks):
                best = max(best, await answer, key=_covered)
                if _covered(best) == REDIS_CLUSTER_HASH_SLOTS:
                    break  # Others know no more; one that has just joined may know less.
        finally:
            await cancel_all(tasks)
        if best:
            self._take_over(best)
        return bool(best)

    async def _slots_by(self, node: Node) -> list[Range]:
        try:
            (reply,) = await node.execute([_SLOTS])
        except CacheError:
            return []
        if isinstance(reply, Exception) or not reply:
            _log.warning("a server does not tell the cluster's slots", server=node.name, error=str(reply))
            return []
        own_host = node.name.rpartition(":")[0]
        return [
            (int(first), int(last), ((primary[0] or b"").decode() or own_host, int(primary[1])))
            for first, last, primary, *_ in reply
        ]

    def _take_over(self, ranges: Sequence[Range]) -> None:
        slots: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, place in ranges:
            slots[first : last + 1] = [self.at(*place)] * (last + 1 - first)
        self._slots = slots
        known = {place for _, _, place in ranges} | set(self._seeds)
        for place in [place for place in self._nodes if place not in known]:
            task = asyncio.create_task(self._nodes.pop(place).aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _covered(ranges: Sequence[Range]) -> int:
    return sum(last + 1 - first for first, last, _ in ranges)
