"""How much an account's engagement says, by its age, and how much a burst of accounts that are new themselves may say
at most.

Both follow from ids and times alone, so that whoever counts the same events in whatever order gets the same. The age is
in the id (`svc_kit.ids`): no account has to be looked up.
"""

from __future__ import annotations

from svc_kit.ids import created_ms


def trust(account_id: int, at_ms: int, grown_ms: int) -> float:
    """0 to 1: how much of what an account did at a moment counts as done by an established one. Grows with the square
    of its age until `grown_ms`: a thousand accounts of an hour ago must not add up to one of them. Nothing for nobody
    (0)."""
    if account_id <= 0:
        return 0.0
    if grown_ms <= 0:
        return 1.0
    return min(max((at_ms - created_ms(account_id)) / grown_ms, 0.0), 1.0) ** 2


def damped(trusted: float, fresh: float, allowance: float) -> float:
    """What `trusted` and `fresh` engagement of one short time is worth together. The fresh part counts nearly whole
    while there is little of it, and never more than `allowance` and what trusted accounts did at the same time: a
    thousand accounts of an hour ago are worth no more than a few, unless others come along."""
    fresh, trusted = max(fresh, 0.0), max(trusted, 0.0)
    cap = allowance + trusted
    return trusted + (fresh * cap / (fresh + cap) if fresh > 0 and cap > 0 else 0.0)
