"""Partitions of keys and of members."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from svc_kit.bus.layout import assign, partition_of, positions_of
from svc_kit.bus.port import Position

MEMBERS = st.sets(st.sampled_from("abcdefg"), min_size=1)


def test_partitions_of_keys_never_change() -> None:
    """These numbers are in files: another function would break the order of their keys."""
    assert [partition_of(key, 8) for key in (0, 1, 2, 3, 2**62, -1)] == [1, 7, 5, 3, 4, 4]


@given(before=MEMBERS, after=MEMBERS, partitions=st.integers(1, 16))
def test_every_partition_has_one_owner_shares_are_even_and_moves_few(
    before: set[str], after: set[str], partitions: int
) -> None:
    topics = ["account", "video"]
    current: dict[Position, str] = assign(dict.fromkeys(before, topics), partitions, {})
    owners = assign(dict.fromkeys(after, topics), partitions, current)
    assert sorted(owners) == positions_of(topics, partitions)
    load = Counter(owners.values())
    assert max(load.values()) - min(load[member] for member in after) <= 1
    # What must move: partitions of those who left, and what the stayers hold beyond a fair share.
    share = -(-len(owners) // len(after))
    held = Counter(owner for owner in current.values() if owner in after)
    least = len(owners) - sum(min(count, share) for count in held.values())
    assert sum(current[p] != owner for p, owner in owners.items()) <= least + len(after)


@given(members=st.dictionaries(st.sampled_from("abc"), st.sets(st.sampled_from(["account", "video"]), min_size=1)))
def test_members_get_their_topics_only(members: dict[str, set[str]]) -> None:
    owners = assign(members, 4, {})
    assert all(topic in members[owner] for (topic, _), owner in owners.items())
    assert sorted(owners) == positions_of({topic for topics in members.values() for topic in topics}, 4)
