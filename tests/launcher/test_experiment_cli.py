"""`reelgraph experiment report`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from feed_svc.analytics.columns import archived
from feed_svc.analytics.stores.parquet import open as open_archive
from launcher.cli import app
from launcher.migrate import migrate_all
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.feed_pb2 import FeedExposed
from reelgraph.events.v1.watch_pb2 import WatchRecorded
from svc_kit.bus.port import Delivery, Record
from svc_kit.clock import from_ms
from svc_kit.settings import PlatformSettings

START_MS = 1_780_000_000_000
"""In May 2026: every window is long over."""


def told(number: int, user: int, at_ms: int, **body: object) -> Delivery:
    """One event on the bus."""
    event = Event(id=number, actor_id=user, entity=f"e:{number}", entity_version=1, **body)  # type: ignore[arg-type]
    event.occurred_at.FromDatetime(from_ms(at_ms))
    topic = (event.WhichOneof("body") or "").partition("_")[0]
    return Delivery(Record(topic, user, number, event.entity, event.SerializeToString()), 0, number)


async def fill(folder: Path) -> None:
    """A platform's archive: 40 viewers an arm, those of `more` watch twice as long."""
    await migrate_all(PlatformSettings(data_dir=folder))
    deliveries = []
    for user in range(1, 81):
        arm = "more" if user % 2 else "usual"
        exposed = FeedExposed(owner=f"u{user}", user_id=user, experiment="x", arm=arm, exposed_at_ms=START_MS + user)
        minutes = (10 + user % 7) * (2 if user % 2 else 1)
        watch = WatchRecorded(user_id=user, watched_ms=60_000 * minutes)
        deliveries += [
            told(2 * user, user, START_MS + user, feed_exposed=exposed),
            told(2 * user + 1, user, START_MS + 1000, watch_recorded=watch),
        ]
    archive = await open_archive(f"file://{folder / 'archive'}")
    await archive.put([archived(delivery) for delivery in deliveries])
    await archive.close()


def test_a_report_is_read_from_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = tmp_path / "experiments.json"
    declared.write_text(json.dumps([{"name": "x", "arms": [{"name": "usual"}, {"name": "more"}], "effect": 1}]))
    monkeypatch.setenv("REELGRAPH_FEED_EXPERIMENTS_FILE", str(declared))
    asyncio.run(fill((tmp_path / "data").resolve()))
    command = ["experiment", "report", "x", "--data-dir", str(tmp_path / "data")]
    answer = CliRunner().invoke(app, [*command, "--json"])
    assert answer.exit_code == 0, answer.output
    usual, more = json.loads(answer.stdout)["arms"]
    assert (usual["exposures"], more["counted"]) == (40, 40)
    assert more["main"]["low"] > 0
    told_to_a_person = CliRunner().invoke(app, command).stdout
    assert "better" in told_to_a_person
    assert "(control)" in told_to_a_person
    unknown = CliRunner().invoke(app, ["experiment", "report", "y", "--data-dir", str(tmp_path / "data")])
    assert (unknown.exit_code, "experiment" in unknown.output) == (1, True)


def test_without_a_declaration_it_says_which_setting_names_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REELGRAPH_FEED_EXPERIMENTS_FILE", raising=False)
    answer = CliRunner().invoke(app, ["experiment", "report", "x", "--data-dir", str(tmp_path)])
    assert (answer.exit_code, "REELGRAPH_FEED_EXPERIMENTS_FILE" in answer.output) == (1, True)
