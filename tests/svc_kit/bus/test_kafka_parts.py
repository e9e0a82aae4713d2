"""What the Kafka adapter decides without a broker: URLs, shares of partitions, what may be committed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from kafka.protocol.consumer.metadata import ConsumerProtocolSubscription
from kafka.structs import TopicPartition

from svc_kit.backends import EngineUnusable
from svc_kit.bus import kafka, kafka_admin
from svc_kit.bus.kafka_assignor import Shares
from svc_kit.bus.kafka_config import settings_of
from svc_kit.bus.kafka_holdings import Holdings
from svc_kit.bus.kafka_producer import MAX_PIECE_BYTES, _pieces
from svc_kit.bus.kafka_wire import (
    HEADER,
    Message,
    deliveries_of,
    letter_group,
    letter_key,
    letter_message,
    letter_of,
    message_of,
)
from svc_kit.bus.port import DeadLetter, Delivery, Position, Record

A, B = ("account", 0), ("account", 1)


class TestSettings:
    def test_everything_in_the_url_is_understood(self) -> None:
        settings = settings_of(
            "kafka+ssl://me%40x:p%2Fw@a:1,b:2?partitions=6&prefix=p.&replication=3&mechanism=SCRAM-SHA-512&ca=/ca.pem"
        )
        assert settings.servers == ("a:1", "b:2")
        assert (settings.user, settings.password, settings.partitions) == ("me@x", "p/w", 6)
        configs = settings.client("test")
        assert configs["security_protocol"] == "SASL_SSL"
        assert (configs["sasl_mechanism"], configs["ssl_cafile"]) == ("SCRAM-SHA-512", "/ca.pem")
        assert settings.topic("account") == "p.account"

    def test_a_broker_without_passwords_needs_none(self) -> None:
        assert settings_of("kafka://a:1").client("test")["security_protocol"] == "PLAINTEXT"

    @pytest.mark.parametrize(
        "url",
        ["kafka://", "kafka://a:1/x", "kafka://a:1?colour=red", "kafka://a:1?partitions=x", "kafka://a:1?mechanism=X"],
    )
    async def test_anything_else_is_refused(self, url: str) -> None:
        with pytest.raises(EngineUnusable):
            await kafka.verify(url)

    def test_the_password_is_not_in_the_error(self) -> None:
        with pytest.raises(ValueError, match=r"me:\*\*\*@") as refused:
            settings_of("kafka://me:secret@a:1?colour=red")
        assert "secret" not in str(refused.value)


class TestWire:
    RECORD = Record("video", 2**62, -5, "video:ü", bytes(range(256)))

    def test_an_event_comes_back_as_it_went(self) -> None:
        message = message_of(self.RECORD, "p.video", 12)
        assert message.topic == "p.video"
        (delivery,) = deliveries_of(("video", message.partition), [_consumed(message, 7)])
        assert delivery == Delivery(self.RECORD, message.partition, 7)

    def test_its_value_is_the_event_for_any_other_consumer(self) -> None:
        message = message_of(self.RECORD, "p.video", 12)
        assert message.value == self.RECORD.payload
        assert [name for name, _ in message.headers] == [HEADER]

    @pytest.mark.parametrize("headers", [[], [("a", b""), ("b", b"")], [("event", b"\xff" * 9)], [("event", None)]])
    def test_a_foreign_record_stops_nobody(self, headers: list[tuple[str, bytes]]) -> None:
        foreign = _consumed(Message("p.video", 1, b"k", b"v", headers), 3)
        assert deliveries_of(("video", 1), [foreign]) == [Delivery(Record("video", 0, 0, "", b"v"), 1, 3)]

    def test_a_dead_letter_comes_back_as_it_went(self) -> None:
        letter = DeadLetter("graph.counters", Delivery(self.RECORD, 3, 2**40), "ValueError: ü", 1_800_000_000_000)
        message = letter_message(letter, "p.dead-letters", 1)
        assert letter_of(_consumed(message, 0)) == letter

    def test_a_group_may_have_any_name(self) -> None:
        assert letter_group(letter_key("a/b/c", A, 7)) == "a/b/c"

    def test_what_is_too_much_at_once_is_sent_in_order_piece_by_piece(self) -> None:
        messages = [Message("t", 0, bytes([i]), b"x" * (MAX_PIECE_BYTES // 3), []) for i in range(10)]
        pieces = list(_pieces(messages))
        assert [m for piece, _ in pieces for m in piece] == messages
        assert len(pieces) > 3
        assert all(size <= MAX_PIECE_BYTES for _, size in pieces)


@dataclass
class _Consumed:
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    offset: int


def _consumed(message: Message, offset: int) -> _Consumed:
    return _Consumed(message.key, message.value, message.headers, offset)


@dataclass
class _Cluster:
    counts: Mapping[str, int]

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self.counts[topic])) if topic in self.counts else None


@dataclass
class _Member:
    member_id: str
    topics: Collection[str]
    takes_all: bool = False
    held: set[TopicPartition] = field(default_factory=set)
    metadata: Any = None

    def join(self) -> _Member:
        sent = Shares(lambda: self.held, takes_all=self.takes_all).metadata(self.topics)
        self.metadata = ConsumerProtocolSubscription.decode(sent.encode())
        return self


def rebalance(cluster: _Cluster, *members: _Member) -> int:
    """Rounds until nothing moves any more; no partition ever has two holders."""
    for number in range(1, 10):
        shares = Shares(lambda: set()).assign(cluster, [member.join() for member in members])
        before = [set(member.held) for member in members]
        for member in members:
            member.held = set(shares[member.member_id].partitions())
        held = [partition for member in members for partition in member.held]
        assert len(held) == len(set(held))
        for member, had in zip(members, before, strict=True):
            others = set().union(*(b for b in before if b is not had))
            assert not member.held & (others - had), "given away before it was given up"
        if before == [member.held for member in members]:
            return number
    raise AssertionError("it never ends")


class TestShares:
    CLUSTER = _Cluster({"account": 12, "video": 12})

    def test_all_is_shared_evenly(self) -> None:
        one, two, three = (_Member(name, ["account", "video"]) for name in "abc")
        rebalance(self.CLUSTER, one, two, three)
        assert [len(m.held) for m in (one, two, three)] == [8, 8, 8]

    def test_a_newcomer_moves_no_more_than_its_share(self) -> None:
        one, two, three = (_Member(name, ["account"]) for name in "abc")
        rebalance(self.CLUSTER, one, two)
        kept = one.held | two.held
        rebalance(self.CLUSTER, one, two, three)
        assert len(three.held) == 4
        assert one.held | two.held | three.held == kept

    def test_members_with_different_topics_get_only_theirs(self) -> None:
        one, two = _Member("a", ["account"]), _Member("b", ["account", "video"])
        rebalance(self.CLUSTER, one, two)
        assert {topic for topic, _ in one.held} == {"account"}
        assert len(one.held) + len(two.held) == 24

    def test_one_that_takes_all_gets_its_topics_and_gives_them_back(self) -> None:
        one, two = _Member("a", ["account", "video"]), _Member("b", ["account", "video"])
        taker = _Member("c", ["account"], takes_all=True)
        rebalance(self.CLUSTER, one, two)
        rebalance(self.CLUSTER, one, two, taker)
        assert taker.held == {TopicPartition("account", i) for i in range(12)}
        assert len(one.held | two.held) == 12
        rebalance(self.CLUSTER, one, two)
        assert len(one.held) == len(two.held) == 12

    def test_of_two_that_take_all_one_does(self) -> None:
        one, two = (_Member(name, ["account"], takes_all=True) for name in "ab")
        rebalance(self.CLUSTER, one, two)
        assert (len(one.held), len(two.held)) == (12, 0)

    def test_a_topic_that_is_not_there_yet_is_nobodys(self) -> None:
        one = _Member("a", ["account", "new"])
        rebalance(self.CLUSTER, one)
        assert {topic for topic, _ in one.held} == {"account"}


def deliver(position: Position, *offsets: int) -> dict[Position, list[Delivery]]:
    return {position: [Delivery(Record(position[0], 1, n, "e", b""), position[1], n) for n in offsets]}


class TestHoldings:
    @pytest.fixture
    def holdings(self) -> Holdings:
        holdings = Holdings()
        holdings.came([A, B])
        holdings.fetched(deliver(A, 1, 2, 3))
        return holdings

    def test_what_was_taken_may_be_committed(self, holdings: Holdings) -> None:
        assert [d.offset for d in holdings.take(2)] == [1, 2]
        assert holdings.to_commit({A: 3}) == ({A: 3}, [])

    def test_what_was_never_taken_may_not(self, holdings: Holdings) -> None:
        assert holdings.to_commit({A: 3}) == ({}, [A])

    def test_an_offset_never_goes_back(self, holdings: Holdings) -> None:
        holdings.take(3)
        holdings.committed({A: 4})
        assert holdings.to_commit({A: 2}) == ({}, [])

    def test_a_partition_that_goes_waits_for_work_at_hand_which_may_be_committed(self, holdings: Holdings) -> None:
        holdings.take(2)
        holdings.went([A], lost=False)
        assert holdings.is_yielding
        assert holdings.to_commit({A: 3}) == ({A: 3}, [])
        holdings.committed({A: 3})
        assert not holdings.is_yielding
        assert holdings.to_commit({A: 4}) == ({}, [A])
        assert holdings.take(10) == ()

    def test_one_without_work_at_hand_goes_at_once(self, holdings: Holdings) -> None:
        holdings.take(2)
        holdings.went([B], lost=False)
        assert not holdings.is_yielding
        holdings.rest()
        holdings.went([A], lost=False)
        assert not holdings.is_yielding

    def test_one_that_was_lost_can_not_be_committed(self, holdings: Holdings) -> None:
        holdings.take(2)
        holdings.went([A], lost=True)
        assert not holdings.is_yielding
        assert holdings.to_commit({A: 3, B: 1}) == ({}, [A, B])

    def test_what_comes_back_begins_anew(self, holdings: Holdings) -> None:
        holdings.take(2)
        epoch = holdings.epoch
        holdings.went([A], lost=True)
        holdings.came([A])
        assert holdings.epoch > epoch
        assert holdings.to_commit({A: 3}) == ({}, [A])
        holdings.fetched(deliver(A, 1))
        holdings.take(1)
        assert holdings.to_commit({A: 2}) == ({A: 2}, [])

    def test_a_moved_place_forgets_what_was_fetched(self, holdings: Holdings) -> None:
        holdings.take(1)
        holdings.moved([A])
        assert holdings.take(10) == ()
        assert holdings.to_commit({A: 2}) == ({}, [A])

    def test_what_to_commit_is_the_last_of_each_partition(self, holdings: Holdings) -> None:
        holdings.fetched(deliver(B, 7, 8))
        taken = holdings.take(10)
        assert holdings.marks(taken) == holdings.marks(list(taken)) == {A: 4, B: 9}
        assert holdings.marks(taken[:1] + taken[-1:]) in ({A: 4, B: 8}, {A: 2, B: 9})

    def test_each_taking_begins_at_another_partition(self, holdings: Holdings) -> None:
        holdings.fetched(deliver(B, 1))
        taken = [holdings.take(1) for _ in range(4)]
        assert B[1] in {d.partition for some in taken[:2] for d in some}


class _OldBroker:
    closed = False

    def describe_cluster(self) -> dict[str, Any]:
        return {"brokers": [{"broker_id": 1}]}

    def get_broker_version_data(self, broker_id: int) -> Any:
        return type("Data", (), {"broker_version": (2, 4)})

    def close(self) -> None:
        self.closed = True


def test_a_broker_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = _OldBroker()
    monkeypatch.setattr(kafka_admin, "connect", lambda kind, configs: broker)
    with pytest.raises(EngineUnusable, match=r"Kafka 2\.4; 2\.5 or newer"):
        kafka_admin.connected(settings_of("kafka://a:1"))
    assert broker.closed
