"""The closing lines of `make test-servers`: for each engine how many tests passed, failed, and were left out and why.

The hooks are for `conftest.py`. An item's engines travel in its report's `user_properties`, so that the lines are the
same whether one process ran the tests or several.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest
from _pytest.terminal import TerminalReporter

from tests.support.engines import ADDRESSES

OUTCOMES = ("passed", "failed", "error", "xfailed", "xpassed", "skipped")
OTHER = "other"
_WITH_REASON = ("xfailed", "skipped")
_REASONS_SHOWN = 4


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("servers"):
            names = [mark.args[0] for mark in item.iter_markers("engine")]
            item.user_properties.extend(("engine", name) for name in names or [OTHER])


def pytest_unconfigure(config: pytest.Config) -> None:
    """After pytest's own last line: what is at the end is read."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if isinstance(terminal, TerminalReporter):
        for line in summary({outcome: terminal.getreports(outcome) for outcome in OUTCOMES}):
            terminal.write_line(line)


def summary(stats: Mapping[str, Iterable[pytest.TestReport]]) -> list[str]:
    """A line an engine, in the order of `ADDRESSES`; none when no test of one ran. `stats`: outcome -> reports."""
    counts: dict[str, Counter[str]] = {}
    reasons: dict[tuple[str, str], Counter[str]] = {}
    for outcome, reports in stats.items():
        for report in reports:
            for engine in _engines(report):
                counts.setdefault(engine, Counter())[outcome] += 1
                if outcome in _WITH_REASON:
                    reasons.setdefault((engine, outcome), Counter())[_reason(report)] += 1
    if not counts:
        return []
    names = [*ADDRESSES, *sorted(counts.keys() - ADDRESSES.keys())]
    return [f"{name:14} {', '.join(_words(name, counts.get(name), reasons))}" for name in names]


def _engines(report: pytest.TestReport) -> list[str]:
    # A module that was skipped whole has none.
    return [str(value) for key, value in getattr(report, "user_properties", ()) if key == "engine"]


def _words(name: str, counts: Counter[str] | None, reasons: Mapping[tuple[str, str], Counter[str]]) -> Iterator[str]:
    if not counts:
        yield "no tests"
        return
    for outcome in OUTCOMES:
        if not counts[outcome]:
            continue
        why = reasons.get((name, outcome), Counter())
        shown = "; ".join(reason for reason, _ in why.most_common(_REASONS_SHOWN))
        more = f"; {len(why) - _REASONS_SHOWN} more" if len(why) > _REASONS_SHOWN else ""
        yield f"{counts[outcome]} {outcome}" + (f" ({shown}{more})" if shown else "")


def _reason(report: pytest.TestReport) -> str:
    expected = getattr(report, "wasxfail", "")
    if expected:
        return str(expected).removeprefix("reason: ")
    # A skip's place and words.
    said = report.longrepr[2] if isinstance(report.longrepr, (tuple, list)) else str(report.longrepr)
    return str(said).removeprefix("Skipped: ")
