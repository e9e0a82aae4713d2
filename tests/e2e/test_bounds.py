"""Every bound of `make faults`, broken once: the command fails and names the row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.e2e import faults
from tests.e2e.bounds import CONNECTS_PER_S, GROWN_MIB, RECOVERY_S, UPLOADS_READY_S, Row, problems
from tests.e2e.seen import AT_THE_STORE, Seen


def good_seen() -> Seen:
    return Seen(
        reads=100,
        stale=90,
        writes=40,
        failed_writes=Counter({"likeVideo UNAVAILABLE": 3, "addComment DEADLINE_EXCEEDED": 1}),
        uploads=4,
        plays=20,
        failed_plays=Counter({"segment 503": 2}),
        searches=20,
    )


def good_row() -> Row:
    return Row("postgres", "kill -9", good_seen(), RECOVERY_S, UPLOADS_READY_S, GROWN_MIB, CONNECTS_PER_S)


def test_a_row_at_its_bounds_keeps_them() -> None:
    assert problems(good_row()) == []


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"caught_up_s": RECOVERY_S + 0.1}, "counts were right after 30.1 s"),
        ({"caught_up_s": None}, "counts were right never"),
        ({"uploads_ready_s": UPLOADS_READY_S + 1}, "uploads were READY after"),
        ({"uploads_ready_s": None}, "uploads were READY never"),
        ({"grown_mib": GROWN_MIB + 1}, "memory grew"),
        ({"connects_per_s": CONNECTS_PER_S + 0.1}, "new connections/s"),
        ({"wrong": ["v1 likeCount: 5, not 4"]}, "v1 likeCount: 5, not 4"),
    ],
)
def test_each_figure_beyond_its_bound_is_named(broken: dict[str, Any], told: str) -> None:
    (problem,) = problems(replace(good_row(), **broken))
    assert told in problem


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("reads", "['UNAVAILABLE']"),
        ("writes", "likeVideo INTERNAL"),
        ("writes", "likeVideo UNKNOWN"),
        ("writes", "likeVideo None"),
        ("writes", "likeVideo RATE_LIMITED"),
        ("writes", "addComment NOT_FOUND"),
        ("writes", "ReadTimeout"),
        ("uploads", "completeUpload INTERNAL"),
        ("uploads", "part 500"),
        ("uploads", "beginUpload: another upload for the same key"),
        ("uploads", AT_THE_STORE),
        ("plays", "segment 500"),
        ("plays", "segment 404"),
        ("plays", "playlist ReadTimeout"),
        ("searches", "search INTERNAL"),
    ],
)
def test_each_failure_that_is_no_honest_refusal_is_named(kind: str, name: str) -> None:
    row = good_row()
    row.seen.failures[kind][name] += 1
    (problem,) = problems(row)
    assert name in problem and kind in problem


def test_a_store_that_is_away_leaves_parts_unanswered() -> None:
    row = replace(good_row(), engine="s3")
    row.seen.failed_uploads[AT_THE_STORE] += 1
    assert problems(row) == []


def test_a_refusal_without_a_retry_hint_is_named() -> None:
    row = good_row()
    row.seen.count(row.seen.failed_writes, "likeVideo UNAVAILABLE", hinted=False)
    (problem,) = problems(row)
    assert "without a retry hint" in problem and "likeVideo" in problem


@pytest.mark.parametrize("kind", ["reads", "writes", "uploads", "plays", "searches"])
def test_a_kind_that_was_never_tried_proves_nothing(kind: str) -> None:
    row = good_row()
    setattr(row.seen, kind, 0)
    row.seen.failures[kind].clear()
    (problem,) = problems(row)
    assert f"no {kind} were tried" in problem


def test_a_broken_bound_ends_the_command_with_1_and_names_the_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [good_row(), replace(good_row(), engine="neo4j", fault="hangs (toxiproxy)", grown_mib=GROWN_MIB + 1)]

    async def measured(*_: object) -> list[Row]:
        return rows

    monkeypatch.setattr(faults, "run", measured)
    monkeypatch.setattr("sys.argv", ["faults"])
    assert faults.main() == 1
    told = capsys.readouterr().err
    assert "neo4j, hangs (toxiproxy): memory grew" in told and "postgres" not in told
    rows.pop()
    assert faults.main() == 0


def test_an_engine_that_has_no_address_is_passed_over_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen: list[str] = []

    async def measured(_: object, targets: Sequence[faults.Target], __: object) -> list[Row]:
        chosen.extend(target.name for target in targets)
        return []

    monkeypatch.setattr(faults, "run", measured)
    monkeypatch.setattr("sys.argv", ["faults", "meilisearch,s3"])
    monkeypatch.delenv("REELGRAPH_TEST_MEILISEARCH_URL", raising=False)
    faults.main()
    assert chosen == ["s3"]
    assert "meilisearch: skipped, REELGRAPH_TEST_MEILISEARCH_URL" in capsys.readouterr().out
    monkeypatch.setenv("REELGRAPH_TEST_MEILISEARCH_URL", "meilisearch://:key@127.0.0.1:7700/x")
    faults.main()
    assert chosen[1:] == ["s3", "meilisearch"]
    assert faults.TARGETS[7].address == "127.0.0.1:7700"
