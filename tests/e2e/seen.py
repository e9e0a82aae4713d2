"""What people saw of a platform under load, and how it refused what it refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from launcher.demo.client import RequestFailed

HONEST = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "503"})
"""What may be refused with while a dependency is down; 503 is HTTP's own, where bytes are asked for."""
AT_THE_STORE = "part unanswered"
"""A part went to a presigned URL, so straight to the blob store, and the store answered nothing: no word of ours."""


@dataclass(slots=True)
class Seen:
    """Outcomes by kind. A failure is named `<what> <code>`: `likeVideo UNAVAILABLE`, `segment 503`, `ReadTimeout`."""

    reads: int = 0
    stale: int = 0
    empty: int = 0
    failed_reads: Counter[str] = field(default_factory=Counter)
    read_s: list[float] = field(default_factory=list)
    writes: int = 0
    failed_writes: Counter[str] = field(default_factory=Counter)
    uploads: int = 0
    """Acknowledged completeUploads."""
    failed_uploads: Counter[str] = field(default_factory=Counter)
    plays: int = 0
    """Videos whose master playlist, playlist and first segment came whole."""
    failed_plays: Counter[str] = field(default_factory=Counter)
    searches: int = 0
    failed_searches: Counter[str] = field(default_factory=Counter)
    found_nothing: int = 0
    """Searches that were answered with no result, of words that videos and people here have."""
    without_hint: Counter[str] = field(default_factory=Counter)
    """Honest refusals that said nothing of when to try again."""

    @property
    def p99_read_ms(self) -> float:
        """Of answered reads."""
        ordered = sorted(self.read_s)
        return round(1000 * ordered[int(0.99 * (len(ordered) - 1))], 1) if ordered else 0.0

    @property
    def failures(self) -> dict[str, Counter[str]]:
        """By kind: what was not answered as asked."""
        return {
            "reads": self.failed_reads,
            "writes": self.failed_writes,
            "uploads": self.failed_uploads,
            "plays": self.failed_plays,
            "searches": self.failed_searches,
        }

    @property
    def answered(self) -> dict[str, int]:
        """By kind."""
        return {
            "reads": self.reads,
            "writes": self.writes,
            "uploads": self.uploads,
            "plays": self.plays,
            "searches": self.searches,
        }

    def refused(self, failed: Counter[str], what: str, error: RequestFailed) -> None:
        """Count an answer with errors."""
        for code, hinted in codes_of(error):
            self.count(failed, f"{what} {code}", hinted=hinted)

    def count(self, failed: Counter[str], name: str, *, hinted: bool) -> None:
        """Count one failure; an honest one must say when to try again."""
        failed[name] += 1
        if code_of(name) in HONEST and not hinted:
            self.without_hint[name] += 1


def codes_of(error: RequestFailed) -> Iterator[tuple[str, bool]]:
    """The code of each error of an answer, and whether it says when to try again."""
    for problem in error.errors:
        extensions = problem.get("extensions") or {}
        yield str(problem.get("code") or extensions.get("code")), "retryAfterMs" in extensions


def code_of(name: str) -> str:
    """The code at the end of a failure's name."""
    return name.rpartition(" ")[2]


def by_code(failed: Counter[str]) -> Counter[str]:
    """Failures summed over what was tried."""
    found: Counter[str] = Counter()
    for name, count in failed.items():
        found[name if name == AT_THE_STORE else code_of(name)] += count
    return found
