"""Who reads which partitions, in Kafka's cooperative rebalancing: members keep what does not move.

The group's leader computes it with `svc_kit.bus.layout.assign`, as all adapters do. A partition that moves is left out
of the first round, so that its holder gives it up, and given away in the second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any

from kafka.coordinator.assignors.abstract import AbstractPartitionAssignor, RebalanceProtocol
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription
from kafka.structs import TopicPartition

from svc_kit.bus.layout import assign
from svc_kit.bus.port import Position

VERSION = 1
TAKES_ALL = b"all"


class Shares(AbstractPartitionAssignor):  # type: ignore[misc]
    """Even shares and few moves; a member with `takes_all` gets all partitions of its topics for as long as it stays,
    so that it may move the group's offsets."""

    name = "reelgraph-shares"

    def __init__(self, held: Callable[[], Collection[TopicPartition]], *, takes_all: bool = False) -> None:
        self._held = held
        self._takes_all = takes_all

    def supported_protocols(self) -> list[RebalanceProtocol]:
        return [RebalanceProtocol.COOPERATIVE]

    def metadata(self, topics: Collection[str]) -> ConsumerProtocolSubscription:
        held = defaultdict(list)
        for topic, partition in self._held():
            held[topic].append(partition)
        return ConsumerProtocolSubscription(
            version=VERSION,
            topics=sorted(topics),
            user_data=TAKES_ALL if self._takes_all else b"",
            owned_partitions=[
                ConsumerProtocolSubscription.TopicPartition(topic=topic, partitions=sorted(some))
                for topic, some in held.items()
            ],
        )

    def assign(self, cluster: Any, members: Collection[Any]) -> dict[str, ConsumerProtocolAssignment]:
        topics = {member.member_id: tuple(member.metadata.topics) for member in members}
        counts = {t: len(cluster.partitions_for_topic(t) or ()) for some in topics.values() for t in some}
        current = {
            (owned.topic, partition): member.member_id
            for member in members
            for owned in member.metadata.owned_partitions
            for partition in owned.partitions
        }
        takers = [m.member_id for m in members if bytes(m.metadata.user_data or b"") == TAKES_ALL]
        shares: dict[str, dict[str, list[int]]] = {member: defaultdict(list) for member in topics}
        for position, owner in _owners(topics, counts, current, takers).items():
            if current.get(position, owner) == owner:
                shares[owner][position[0]].append(position[1])
        return {
            member: ConsumerProtocolAssignment(VERSION, sorted((t, sorted(some)) for t, some in share.items()), b"")
            for member, share in shares.items()
        }

    def on_assignment(self, assignment: ConsumerProtocolAssignment, generation: int) -> None:
        """Nothing to remember: `held` always knows."""


def _owners(
    topics: Mapping[str, Collection[str]],
    counts: Mapping[str, int],
    current: Mapping[Position, str],
    takers: Collection[str],
) -> dict[Position, str]:
    """Who should own each partition in the end."""
    taker = min(takers, default="")
    taken = set(topics.get(taker, ()))
    owners = {(topic, part): taker for topic in taken for part in range(counts[topic])}
    rest = {member: [t for t in some if t not in taken] for member, some in topics.items() if member != taker}
    rest = {member: some for member, some in rest.items() if some}
    if rest:
        most = max(counts[topic] for some in rest.values() for topic in some)
        shared = assign(rest, most, current)
        owners |= {position: owner for position, owner in shared.items() if position[1] < counts[position[0]]}
    return owners
