"""How much engagement says: by the age of accounts, and never more than a burst may."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc_kit.ids import EPOCH_MS
from svc_kit.trust import damped, trust

HOUR = 3_600_000
amounts = st.floats(0, 1e6)


def account(age_ms: int, at_ms: int) -> int:
    return (at_ms - age_ms - EPOCH_MS) << 22


def test_trust_grows_with_the_age_that_the_id_tells() -> None:
    now = EPOCH_MS + 1000 * HOUR
    ages = [0, 1, 36, 72, 500]
    assert [trust(account(hours * HOUR, now), now, 72 * HOUR) for hours in ages] == [
        0,
        pytest.approx(72**-2),
        0.25,
        1,
        1,
    ]
    assert trust(account(-HOUR, now), now, 72 * HOUR) == 0
    assert trust(0, now, 72 * HOUR) == 0
    assert trust(account(0, now), now, 0) == 1


@given(amounts, amounts, st.floats(0, 100))
def test_a_burst_of_new_accounts_adds_no_more_than_the_allowance_and_what_others_did(
    trusted: float, fresh: float, allowance: float
) -> None:
    worth = damped(trusted, fresh, allowance)
    assert trusted <= worth <= trusted + min(fresh, allowance + trusted) + 1e-6


@given(amounts, amounts, amounts)
def test_more_engagement_never_counts_less(trusted: float, fresh: float, more: float) -> None:
    slack = 1e-9 * (trusted + fresh + more + 1)
    assert damped(trusted, fresh + more, 5) >= damped(trusted, fresh, 5) - slack
    assert damped(trusted + more, fresh, 5) >= damped(trusted, fresh, 5) - slack


def test_a_little_of_it_counts_nearly_whole() -> None:
    assert damped(0, 1, 20) == pytest.approx(0.95, abs=0.01)
    assert damped(0, 1000, 5) < 5
