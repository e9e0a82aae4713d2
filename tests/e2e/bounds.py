"""What `make faults` promises of each fault, in numbers. A row that breaks one fails the command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.e2e.seen import AT_THE_STORE, HONEST, Seen, code_of

RECOVERY_S = 30.0
"""From an engine's return until every count equals the book: the promise itself."""
UPLOADS_READY_S = 60.0
"""From an engine's return until every acknowledged upload is READY: a job that an outage interrupted waits at most 8 s
for its next attempt, one whose lease could not be given back 30 s, and what waits is then encoded on two shared
cores."""
GROWN_MIB = 64
"""All processes of the platform together, over one fault, from a settled baseline: six interpreters of 100 to 300 MiB
vary by some MiB each; what queues without bound under this load (a hundred events, 400 KiB of clips a second) passes it
within a fault or two."""
CONNECTS_PER_S = 100.0
"""Most new TCP connections a second over any 5 s of fault and recovery: 50 of the platform's own. They are counted for
the whole machine, and one through toxiproxy is two. Six processes whose pools hold some dozens of connections may all
be made anew once; a storm (each request, or each turn of a loop, its own connection) is hundreds a second."""
STORE = "s3"
"""The engine that clients talk to themselves."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one fault did."""

    engine: str
    fault: str
    seen: Seen
    """From the fault's beginning until the engine was back and the load had ended."""
    caught_up_s: float | None
    """Seconds from recovery until every count was what had been acknowledged; None: never."""
    uploads_ready_s: float | None
    """Seconds from recovery until every acknowledged upload was READY, its video there once; None: never."""
    grown_mib: int
    """Of all processes of the platform together, from before the fault to its end."""
    connects_per_s: float
    """New TCP connections of the whole machine: most over 5 s."""
    wrong: Sequence[str] = ()
    """What still differed from the book at the end."""


def problems(row: Row) -> list[str]:
    """Where a row falls short of what is promised."""
    found = [*_unmeasured(row), *_dishonest(row)]
    if row.seen.failed_reads:
        found.append(f"feed reads failed: {dict(row.seen.failed_reads)}")
    if row.seen.without_hint:
        found.append(f"refusals without a retry hint: {dict(row.seen.without_hint)}")
    if row.wrong:
        found.append(f"differs from the book: {list(row.wrong)[:3]}")
    for what, took, bound in (
        ("counts were right", row.caught_up_s, RECOVERY_S),
        ("acknowledged uploads were READY", row.uploads_ready_s, UPLOADS_READY_S),
    ):
        if took is None or took > bound:
            after = "never" if took is None else f"after {took:g} s"
            found.append(f"{what} {after}, not within {bound:g} s of recovery")
    if row.grown_mib > GROWN_MIB:
        found.append(f"memory grew by {row.grown_mib} MiB, more than {GROWN_MIB}")
    if row.connects_per_s > CONNECTS_PER_S:
        found.append(f"{row.connects_per_s:g} new connections/s, more than {CONNECTS_PER_S:g}")
    return found


def _dishonest(row: Row) -> list[str]:
    """Failures that say neither that nor when to try again: also INTERNAL, UNKNOWN, HTTP 500, a lost connection."""
    found = []
    for kind, failed in row.seen.failures.items():
        odd = Counter({name: count for name, count in failed.items() if not _is_honest(name, row.engine)})
        if odd and kind != "reads":
            found.append(f"{kind} failed otherwise than UNAVAILABLE: {dict(odd)}")
    return found


def _is_honest(name: str, engine: str) -> bool:
    return code_of(name) in HONEST or (name == AT_THE_STORE and engine == STORE)


def _unmeasured(row: Row) -> list[str]:
    """A kind of request that was not even tried proves nothing."""
    seen = row.seen
    return [
        f"no {kind} were tried: nothing was measured"
        for kind, answered in seen.answered.items()
        if not answered and not seen.failures[kind]
    ]
