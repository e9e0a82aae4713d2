"""Promotion and rollback: whole and not worse, or nothing changes and somebody is told why."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from rank_svc.schema import metadata
from rank_svc.scorers import wiring as scorers_wiring
from rank_svc.scorers.store import ModelRefused
from rank_svc.settings import RankSettings
from rank_svc.train.columns import DatasetError
from rank_svc.train.dataset import Dataset, load
from rank_svc.versions import wiring
from rank_svc.versions.store import Decision, Outcome
from rank_svc.versions.wiring import PROMOTION, Versions, lease, open_versions
from svc_kit.db import Database
from svc_kit.errors import AppError, Reason
from svc_kit.settings import PlatformSettings
from tests.rank.train.conftest import DAY_MS, impressions, world
from tests.support.clock import FakeClock
from tests.support.databases import opened_database
from tests.support.versions import (
    D,
    Edit,
    learned_until,
    make_version,
    negated,
    snapshot_of,
    with_nan,
    with_vectors,
    write_dataset,
)

GREATEST = 2**63 - 1
Make = Callable[..., Path]


@dataclass
class Shop:
    """Versions over a folder and a database, while the packaged base version serves."""

    versions: Versions
    db: Database
    clock: FakeClock
    folder: Path
    """Of the library."""
    make: Make
    """`make(name, *edits)`: a version's folder outside of the library."""
    data: Dataset

    async def promote(self, asked: Path | str, data: Dataset | None = None, **options: Any) -> Decision:
        return await self.versions.commands.promote(str(asked), lambda: data or self.data, **options)

    @property
    def pointer(self) -> str:
        path = self.folder / "serving"
        return path.read_text().strip() if path.exists() else ""


@pytest.fixture
async def shop(tmp_path: Path, base_model: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    for module in (wiring, scorers_wiring):
        monkeypatch.setattr(module, "PACKAGED", base_model)
    settings = PlatformSettings(data_dir=tmp_path / "data")
    data = load(write_dataset(tmp_path / "log", **world()))
    clock = FakeClock()
    async with opened_database("sqlite", tmp_path, metadata) as db:
        limits = RankSettings(promote_least_users=20)
        versions = open_versions(settings, limits, db, clock, anyio.CapacityLimiter(1))

        def make(name: str, *edits: Edit, **changes: Any) -> Path:
            return make_version(tmp_path / "made", base_model, name, *edits, **changes)

        yield Shop(versions, db, clock, tmp_path / "data" / "models", make, data)


async def test_a_version_that_is_not_worse_serves_and_the_comparison_is_kept(shop: Shop) -> None:
    decision = await shop.promote(shop.make("next"))

    assert (decision.outcome, decision.version, decision.previous) == (Outcome.PROMOTED, "next", "base-1")
    assert shop.pointer == "next"
    measured = decision.report["metrics"]["recall@50"]
    assert measured["candidate"] == measured["serving"] and measured["users"] >= 20
    assert decision.report["held_out"]["positives"] >= measured["users"]
    assert await shop.versions.log.decisions(5) == [decision]


async def test_a_better_version_takes_over_from_one_that_knows_nothing_of_taste(shop: Shop) -> None:
    await shop.promote(shop.make("blind", negated("user_tower")), force=True)
    decision = await shop.promote(shop.make("seeing"))

    assert (decision.outcome, shop.pointer) == (Outcome.PROMOTED, "seeing")
    measured = decision.report["metrics"]["ndcg@50"]
    assert measured["candidate"] > measured["serving"]


async def test_a_worse_version_stays_beside_and_the_overview_says_why(shop: Shop) -> None:
    decision = await shop.promote(shop.make("worse", negated("user_tower")))
    overview = await shop.versions.queries.overview()

    assert (decision.outcome, shop.pointer) == (Outcome.WORSE, "")
    assert "ndcg@50" in decision.reason and "standard error" in decision.reason
    told = {v["version"]: v for v in overview["versions"]}
    assert set(told) == {"base-1", "worse"} and told["base-1"]["serves"]
    assert told["worse"]["refused"].startswith("worse: ndcg@50") or "recall@50" in told["worse"]["refused"]


async def test_a_worse_ranker_alone_is_enough_to_stay_beside(shop: Shop, tmp_path: Path) -> None:
    data = load(write_dataset(tmp_path / "shown", **world(), impressions=_by_popularity()))
    decision = await shop.promote(shop.make("worse", negated("ranker")), data)

    assert decision.outcome is Outcome.WORSE and decision.reason.startswith("auc completion")
    measured = decision.report["metrics"]
    assert measured["auc completion"]["serving"] > 0.5 > measured["auc completion"]["candidate"]
    assert measured["recall@50"]["difference"] == 0


def _by_popularity() -> dict[str, list[Any]]:
    """Impressions of which some items are finished by everybody, as the base ranker's rates tell."""
    rows = impressions(2000)
    finished = [item % 4 < 2 for item in rows["item_id"]]
    watched = [long if done else 500 for done, long in zip(finished, rows["duration_ms"], strict=True)]
    return rows | {"watched_ms": watched, "long_view": finished, "completed": finished}


async def test_rankers_that_differ_need_impressions_to_be_compared(shop: Shop) -> None:
    decision = await shop.promote(shop.make("other", negated("ranker")))

    assert decision.outcome is Outcome.TOO_LITTLE and "fewer than 500 impressions" in decision.reason


async def test_too_few_users_are_an_answer_of_their_own(shop: Shop, tmp_path: Path) -> None:
    few = load(write_dataset(tmp_path / "few", **world(users=8)))
    decision = await shop.promote(shop.make("next"), few)

    assert (decision.outcome, shop.pointer) == (Outcome.TOO_LITTLE, "")
    assert "8 users" in decision.reason or "users, at least 20 are needed" in decision.reason


async def test_force_promotes_and_is_recorded_with_what_was_measured(shop: Shop) -> None:
    decision = await shop.promote(shop.make("worse", negated("user_tower")), force=True)

    assert (decision.outcome, shop.pointer) == (Outcome.FORCED, "worse")
    assert decision.reason.startswith("worse: ") and decision.report["metrics"]
    assert (await shop.versions.log.decisions(1))[0].outcome is Outcome.FORCED


async def test_without_any_log_only_force_promotes(shop: Shop) -> None:
    def nothing() -> Dataset:
        raise DatasetError("archive: there is no archive")

    source = str(shop.make("next"))
    decision = await shop.versions.commands.promote(source, nothing)
    forced = await shop.versions.commands.promote("next", nothing, force=True)

    assert (decision.outcome, "there is no archive" in decision.reason) == (Outcome.TOO_LITTLE, True)
    assert (forced.outcome, shop.pointer) == (Outcome.FORCED, "next")


async def test_rows_that_a_version_has_learned_from_are_not_asked(shop: Shop) -> None:
    decision = await shop.promote(shop.make("knowing", learned_until(DAY_MS * 100)))

    assert (decision.outcome, shop.pointer) == (Outcome.TOO_LITTLE, "")


async def test_rollback_goes_back_and_back_again_and_by_name(shop: Shop) -> None:
    await shop.promote(shop.make("second"))
    await shop.promote(shop.make("third"))

    back = await shop.versions.commands.rollback()
    first = (back.outcome, shop.pointer)
    await shop.versions.commands.rollback()
    again = shop.pointer
    await shop.versions.commands.rollback("base-1")

    assert first == (Outcome.ROLLED_BACK, "second")
    assert (again, shop.pointer) == ("third", "base-1")
    assert (shop.folder / "base-1" / "version.json").is_file()
    overview = await shop.versions.queries.overview()
    assert (overview["serving"], overview["previous"]) == ("base-1", "third")


@pytest.mark.parametrize("version", ["", "nothing", "../made/next", ".."])
async def test_rollback_to_what_is_not_there_is_refused(shop: Shop, version: str) -> None:
    with pytest.raises(ModelRefused, match=r"nothing is known of a version before base-1|no such version|neither"):
        await shop.versions.commands.rollback(version)
    assert not (shop.folder / "serving").exists()


async def test_promoting_what_serves_changes_nothing(shop: Shop) -> None:
    await shop.promote(shop.make("next"))
    decision = await shop.promote("next")

    assert (decision.outcome, shop.pointer) == (Outcome.UNCHANGED, "next")
    assert len(await shop.versions.log.decisions(5)) == 1


def _write(name: str, content: bytes) -> Edit:
    def edit(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return edit


def _remove(name: str) -> Edit:
    def edit(folder: Path) -> None:
        (folder / name).unlink()

    return edit


VECTORS = np.ones((3, D), np.float32)
HOLED = VECTORS.copy()
HOLED[1, 5] = np.nan
IDS = np.array([1, 2, 3], np.int64)
BROKEN: dict[str, tuple[tuple[Edit, ...], dict[str, Any], str]] = {
    "NaN in the ranker": ((with_nan("ranker"),), {}, r"ranker/1/model\.onnx: table_of_nothing has NaN"),
    "NaN in a tower": ((with_nan("item_tower"),), {}, r"item_tower/1/model\.onnx: .*NaN"),
    "dimensions": ((), {"dimensions": 32}, r"model\.onnx: .*32"),
    "no dimensions": ((), {"dimensions": 0}, r"version\.json: `dimensions` must be 1 to 1024, not 0"),
    "model cut off": (
        (_write("ranker/1/model.onnx", b"\x3a\xff\xff\x01"),),
        {},
        r"ranker/1/model\.onnx: is not an ONNX",
    ),
    "vectors of NaN": ((with_vectors(IDS, HOLED),), {}, r"item_vectors\.npz: the vector of item 2 is not finite"),
    "vectors' width": ((with_vectors(IDS, np.ones((3, 8), np.float32)),), {}, r"item_vectors\.npz: .*\[3, 64\]"),
    "vectors no file": ((with_vectors(), _write("item_vectors.npz", b"PK??")), {}, r"item_vectors\.npz: can't be read"),
    "index corrupt": ((with_vectors(IDS, VECTORS, b"usearch" + bytes(40)),), {}, r"items\.usearch: is no index"),
    "index empty": ((with_vectors(IDS, VECTORS, b""),), {}, r"items\.usearch: is no index"),
    "index short": ((with_vectors(IDS, VECTORS, VECTORS[:2]),), {}, r"items\.usearch: has 2 vectors of 64"),
    "index' width": ((with_vectors(IDS, VECTORS, np.ones((3, 8), np.float32)),), {}, r"items\.usearch: has 3 .* of 8"),
    "index of others": ((with_vectors(IDS, VECTORS, -VECTORS),), {}, r"items\.usearch: holds other vectors"),
    "index missing": ((with_vectors(), _remove("items.usearch")), {}, r"items\.usearch: there is no such file"),
    "repeated id": ((with_vectors(np.array([1, 1, 2]), VECTORS),), {}, r"item_vectors\.npz: an id is there twice"),
    "name": ((), {"version": "../up"}, r"can't be a folder's name"),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_a_broken_version_is_refused_by_file_and_reason_and_nothing_changes(shop: Shop, how: str) -> None:
    await shop.promote(shop.make("good", with_vectors()))
    edits, changes, reason = BROKEN[how]
    source, before = shop.make("bad", *edits, **changes), snapshot_of(shop.folder)

    with pytest.raises(ModelRefused, match=reason):
        await shop.promote(source, force=True)

    assert snapshot_of(shop.folder) == before
    assert [d.version for d in await shop.versions.log.decisions(5)] == ["good"]


@pytest.mark.parametrize("how", ["changed", "missing", "no manifest", "no folder"])
async def test_a_version_whose_files_are_not_those_of_its_manifest_is_refused(shop: Shop, how: str) -> None:
    source = shop.make("bad")
    if how == "changed":
        (source / "ranker/config.pbtxt").write_text("platform: 'x'")
    elif how == "missing":
        (source / "user_tower/1/model.onnx").unlink()
    elif how == "no manifest":
        (source / "version.json").unlink()
    else:
        shutil.rmtree(source)
    reason = {"changed": r"config\.pbtxt: differs", "missing": r"user_tower/1/model\.onnx: there is no such file"}

    with pytest.raises(ModelRefused, match=reason.get(how, r"version\.json: there is no such file")):
        await shop.promote(source, force=True)

    assert not shop.folder.exists()


async def test_a_copy_that_breaks_off_leaves_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    source, copy, copied = shop.make("next"), shutil.copyfile, []

    def break_off(source: Path, target: Path) -> None:
        copied.append(copy(source, target))
        if len(copied) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", break_off)
    with pytest.raises(OSError, match="No space left"):
        await shop.promote(source)

    assert list(shop.folder.iterdir()) == []


async def test_another_version_of_a_name_that_is_taken_is_refused(shop: Shop, tmp_path: Path, base_model: Path) -> None:
    await shop.promote(shop.make("next"))
    other = make_version(tmp_path / "elsewhere", base_model, "next", negated("ranker"))

    with pytest.raises(ModelRefused, match="another version of the same name"):
        await shop.promote(other, force=True)


async def test_two_that_promote_at_once_are_told_apart(shop: Shop) -> None:
    other = lease(shop.db, PROMOTION, shop.clock)
    assert await other.acquire()
    with pytest.raises(AppError) as told:
        await shop.promote(shop.make("next"))
    await other.release()
    decision = await shop.promote(shop.folder.parent.parent / "made" / "next")

    assert told.value.reason is Reason.UNAVAILABLE and "Another process promotes" in told.value.message
    assert decision.outcome is Outcome.PROMOTED


async def test_old_versions_go_but_for_the_last_and_those_in_use(shop: Shop) -> None:
    for name in ("a", "b", "c", "d", "e"):
        await shop.promote(shop.make(name))
        await asyncio.sleep(0.01)

    gone = shop.versions.library.prune(1, {"d"})

    assert (sorted(gone), shop.pointer) == (["a", "b", "base-1"], "e")
    assert sorted(shop.versions.library.names()) == ["c", "d", "e"]
    assert [p.name for p in shop.folder.iterdir() if p.name.startswith(".")] == []


def _odd(**columns: Any) -> dict[str, dict[str, Any]]:
    return {"interactions": columns}


ODD_LOGS: dict[str, dict[str, dict[str, Any]]] = {
    "one user": _odd(user_id=[7] * 9, item_id=list(range(9)), timestamp_ms=list(range(9))),
    "one item": _odd(user_id=list(range(9)), item_id=[7] * 9, timestamp_ms=list(range(9))),
    "one row": _odd(user_id=[0], item_id=[0], timestamp_ms=[0]),
    "duplicates": _odd(user_id=[1, 1, 1, 2] * 5, item_id=[1, 1, 2, 2] * 5, timestamp_ms=[1, 1, 2, 2] * 5),
    "backwards": _odd(user_id=[1] * 9, item_id=list(range(9)), timestamp_ms=list(range(900, 0, -100))),
    "greatest ids": _odd(user_id=[GREATEST] * 9, item_id=[GREATEST - i for i in range(9)], timestamp_ms=list(range(9))),
    "greatest times": _odd(user_id=[1, 1, 2, 2], item_id=[1, 2, 1, 2], timestamp_ms=[0, GREATEST, 5, GREATEST - 1]),
    "no order": _odd(user_id=[1, 1, 2, 2], item_id=[1, 2, 1, 2]),
    "no positives": _odd(user_id=[1, 1, 2], item_id=[1, 2, 1], timestamp_ms=[1, 2, 3], like=[False] * 3),
    "non-ASCII columns": world(users=6)
    | {"items": {"item_id": [0, 1, 2], "c_カテゴリ": ["日本", "ünï", ""], "n_größe": [1.0, None, float("nan")]}},
}


@pytest.mark.parametrize("log", ODD_LOGS)
async def test_an_odd_log_has_too_little_to_tell_and_breaks_nothing(shop: Shop, tmp_path: Path, log: str) -> None:
    data = load(write_dataset(tmp_path / "odd", **ODD_LOGS[log]))
    decision = await shop.promote(shop.make("next"), data)

    assert (decision.outcome, shop.pointer) == (Outcome.TOO_LITTLE, "")
    assert decision.reason
