"""What a stream sends when facts show up late."""

from __future__ import annotations

from graph_svc.notifications.arrivals import LATE_S, MAX_KEPT, Arrivals
from graph_svc.notifications.store import Fact, NotificationKind


def fact(id_: int) -> Fact:
    return Fact(1, id_, NotificationKind.LIKE, id_, "v:1", "v:1", 1, 0, 0)


def ids(facts: list[Fact]) -> list[int]:
    return [one.id for one in facts]


def test_a_fact_that_shows_up_behind_a_sent_one_is_sent_once() -> None:
    arrivals = Arrivals(1)
    assert ids(arrivals.take([fact(2), fact(4)], 0.0)) == [2, 4]
    assert arrivals.after_id == 1
    assert ids(arrivals.take([fact(2), fact(3), fact(4), fact(5)], 1.0)) == [3, 5]
    assert ids(arrivals.take([fact(2), fact(3), fact(4), fact(5)], 2.0)) == []


def test_what_is_old_enough_is_not_read_again() -> None:
    arrivals = Arrivals(1)
    arrivals.take([fact(2), fact(3)], 0.0)
    arrivals.take([fact(2), fact(3), fact(4)], LATE_S)
    assert (arrivals.after_id, len(arrivals)) == (3, 1)


def test_a_late_one_holds_back_what_stands_behind_it() -> None:
    arrivals = Arrivals(1)
    arrivals.take([fact(3)], 0.0)
    arrivals.take([fact(2), fact(3)], LATE_S)
    assert arrivals.after_id == 1
    arrivals.take([fact(2), fact(3)], 2 * LATE_S)
    assert arrivals.after_id == 3


def test_a_busy_receiver_has_a_bounded_memory() -> None:
    arrivals = Arrivals(0)
    for start in range(1, 20 * MAX_KEPT, 100):
        kept = range(arrivals.after_id + 1, start)
        taken = arrivals.take([fact(i) for i in (*kept, *range(start, start + 100))], 0.0)
        assert len(taken) == 100
        assert len(arrivals) <= MAX_KEPT
