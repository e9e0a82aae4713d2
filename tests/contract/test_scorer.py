"""The contract of model serving, for every adapter. Adapters answer the same to 1e-4."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from rank_svc.features.store import Interaction, VideoFacts
from rank_svc.scorers.base_model import write
from rank_svc.scorers.encoding import ViewerRow, encode_items, encode_users
from rank_svc.scorers.layout import digests
from rank_svc.scorers.store import (
    OBJECTIVES,
    RANK_FEATURES,
    ItemBatch,
    ModelRefused,
    ModelRepository,
    RankRows,
    Scorer,
    UserBatch,
)
from rank_svc.scorers.stores import SCHEMES
from svc_kit.backends import resolve
from tests.support.engines import servers
from tests.support.triton import triton_url, unload_all

D = 64
DAY_MS = 86_400_000
NOW = 400 * DAY_MS


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "base-1"
    write(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def nothing_stays_loaded() -> Iterator[None]:
    yield
    asyncio.run(unload_all())


@pytest.fixture(params=["file", "onnx", *servers("triton")])
async def open_repository(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[Path], Any]]:
    opened: list[ModelRepository] = []

    async def open_at(folder: Path) -> ModelRepository:
        url = triton_url(folder) if request.param == "triton" else f"{request.param}://{folder}"
        opened.append(await resolve("models", url, SCHEMES).open(url, anyio.CapacityLimiter(2)))
        return opened[-1]

    yield open_at
    for repository in opened:
        await repository.close()


@pytest.fixture
async def scorer(open_repository: Callable[[Path], Any], base: Path) -> AsyncIterator[Scorer]:
    repository = await open_repository(base)
    scorer = await repository.load(await repository.wanted())
    yield scorer
    await scorer.unload()


VIDEOS = [
    VideoFacts(1, 10, ("cats",), "en", duration_ms=10_000, has_audio=True),
    VideoFacts(2, 11, ("cats", "naps"), "en", duration_ms=60_000),
    VideoFacts(3, 12, ("cars",), "de"),
    VideoFacts(2**63 - 1, 2**63 - 1, ("日本",), "ja"),
    VideoFacts(5, 0),
]


async def vectors_by_id(scorer: Scorer) -> dict[int, Any]:
    vectors = await scorer.item_vectors(encode_items(VIDEOS))
    return {v.video_id: row for v, row in zip(VIDEOS, vectors, strict=True)}


async def viewers(scorer: Scorer, *rows: ViewerRow) -> UserBatch:
    known = await vectors_by_id(scorer)

    def lookup(ids: Any) -> Any:
        return np.array([known.get(i, np.zeros(D)) for i in ids], np.float32), np.array([i in known for i in ids])

    return encode_users(rows, NOW, lookup, lambda _: (), D)


async def rank_rows(scorer: Scorer, features: Any) -> RankRows:
    items = encode_items(VIDEOS[: len(features)])
    user = await viewers(scorer, ViewerRow(1))
    vectors = await scorer.item_vectors(items)
    return RankRows(np.asarray(features, np.float32), items, user, vectors, np.zeros_like(vectors))


async def test_item_vectors_come_from_content_and_like_content_is_near(scorer: Scorer) -> None:
    v = await vectors_by_id(scorer)

    assert scorer.info.dimensions == D and scorer.info.version == "base-1" and scorer.info.kind == "base"
    assert all(row.shape == (D,) and row.dtype == np.float32 for row in v.values())
    assert v[1] @ v[2] > 0.5 > abs(v[1] @ v[3])
    assert v[1] @ v[1] == pytest.approx(1, abs=1e-5)
    assert np.isfinite(v[5]).all()


async def test_a_user_vector_leans_to_what_was_finished_and_away_from_what_was_skipped(scorer: Scorer) -> None:
    v = await vectors_by_id(scorer)
    watched = Interaction(1, 10, 10_000, 10_000, NOW, completed=True)
    refused = Interaction(3, 12, 500, 10_000, NOW, skipped=True)

    taste = await scorer.user_vectors(await viewers(scorer, ViewerRow(7, [watched, refused]), ViewerRow(8)))

    assert taste.shape == (2, D)
    assert taste[0] @ v[1] > 0.6 and taste[0] @ v[3] < -0.2
    assert not taste[1].any()


async def test_interests_alone_give_a_taste(scorer: Scorer) -> None:
    v = await vectors_by_id(scorer)

    (taste,) = await scorer.user_vectors(await viewers(scorer, ViewerRow(7, (), ["cars"])))

    assert taste @ v[3] > 0.8 > taste @ v[1]


async def test_newer_interactions_weigh_more(scorer: Scorer) -> None:
    v = await vectors_by_id(scorer)
    cats = Interaction(1, 10, 10_000, 10_000, NOW, completed=True)
    cars = Interaction(3, 12, 10_000, 10_000, NOW - 60 * DAY_MS, completed=True)

    (taste,) = await scorer.user_vectors(await viewers(scorer, ViewerRow(7, [cats, cars])))

    assert taste @ v[1] > taste @ v[3] + 0.5


async def test_a_row_is_answered_alike_alone_and_among_others(scorer: Scorer) -> None:
    together = await scorer.item_vectors(encode_items(VIDEOS))
    alone = [(await scorer.item_vectors(encode_items([video])))[0] for video in VIDEOS]

    assert np.stack(alone) == pytest.approx(together, abs=1e-5)


async def test_predictions_are_probabilities_and_a_watch_time_within_the_length(scorer: Scorer) -> None:
    random = np.random.default_rng(0).uniform(-1, 1, (5, len(RANK_FEATURES)))
    random[:, RANK_FEATURES.index("duration_s")] = 10
    random[:, RANK_FEATURES.index("typical_watch_s")] = 6

    predicted = (await scorer.rank(await rank_rows(scorer, random))).values

    assert set(OBJECTIVES) <= set(predicted)
    for name in OBJECTIVES:
        assert predicted[name].shape == (5,) and (predicted[name] >= 0).all()
        assert (predicted[name] <= (10_000 if name == "watch_ms" else 1)).all()


async def test_nearer_videos_of_better_rates_are_predicted_better(scorer: Scorer) -> None:
    features = np.zeros((2, len(RANK_FEATURES)))
    for name, value in (("affinity", 0.8), ("completion_rate", 0.7), ("like_rate", 0.2)):
        features[1, RANK_FEATURES.index(name)] = value

    predicted = (await scorer.rank(await rank_rows(scorer, features))).values

    for name in ("like", "share", "completion"):
        assert predicted[name][1] > predicted[name][0]
    assert predicted["negative"][1] < predicted["negative"][0]


async def test_ranking_is_deterministic(scorer: Scorer) -> None:
    rows = await rank_rows(scorer, np.random.default_rng(1).uniform(0, 1, (5, len(RANK_FEATURES))))

    first, second = await asyncio.gather(scorer.rank(rows), scorer.rank(rows))

    assert all((first.values[name] == second.values[name]).all() for name in OBJECTIVES)


async def test_no_rows_give_no_answers(scorer: Scorer) -> None:
    assert (await scorer.item_vectors(encode_items([]))).shape == (0, D)
    assert (await scorer.user_vectors(await viewers(scorer))).shape == (0, D)
    rows = await rank_rows(scorer, np.zeros((0, len(RANK_FEATURES))))
    assert all(len(column) == 0 for column in (await scorer.rank(rows)).values.values())


async def test_arrays_of_wrong_shape_are_refused_by_name(scorer: Scorer) -> None:
    items = encode_items(VIDEOS)
    with pytest.raises(ValueError, match=r"tags: want \[5, 8\], got \[5, 2\]"):
        await scorer.item_vectors(replace(items, tags=items.tags[:, :2]))
    with pytest.raises(ValueError, match="features: want"):
        await scorer.rank(await rank_rows(scorer, np.zeros((2, 3))))


async def test_an_unloaded_version_says_so(scorer: Scorer) -> None:
    await scorer.unload()
    await scorer.unload()

    with pytest.raises(ModelRefused, match="unloaded"):
        await scorer.item_vectors(encode_items(VIDEOS))


async def test_versions_live_side_by_side(open_repository: Callable[[Path], Any], base: Path, tmp_path: Path) -> None:
    for name in ("base-1", "next"):
        shutil.copytree(base, tmp_path / name)
    edit_manifest(tmp_path / "next", version="next")
    (tmp_path / "serving").write_text("next\n")
    repository = await open_repository(tmp_path)

    old, new = await repository.load("base-1"), await repository.load(await repository.wanted())
    await old.unload()

    assert (old.info.version, new.info.version) == ("base-1", "next")
    assert len(await new.item_vectors(encode_items(VIDEOS))) == len(VIDEOS)


def edit_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "version.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite(folder: Path, name: str, change: Callable[[onnx.ModelProto], None]) -> None:
    """Change a model and make the digests fit, as a broken trainer would."""
    path = folder / name / "1" / "model.onnx"
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    edit_manifest(folder, files=digests(folder))


def poison(model: onnx.ModelProto) -> None:
    constant = next(c for c in model.graph.initializer if c.data_type == onnx.TensorProto.FLOAT and len(c.dims) == 2)
    constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant) * np.nan, constant.name))


def rename_input(model: onnx.ModelProto) -> None:
    old = model.graph.input[0].name
    model.graph.input[0].name = "secret_sauce"
    for node in model.graph.node:
        node.input[:] = ["secret_sauce" if name == old else name for name in node.input]


def spoil_ranker(folder: Path) -> None:
    (folder / "ranker/1/model.onnx").write_bytes(b"hello")
    edit_manifest(folder, files=digests(folder))


BREAKAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no manifest": (lambda f: (f / "version.json").unlink(), "version.json"),
    "not json": (lambda f: (f / "version.json").write_text("{"), "version.json: not a manifest"),
    "a field missing": (lambda f: (f / "version.json").write_text('{"version": "base-1"}'), "not a manifest"),
    "a model missing": (lambda f: (f / "ranker/1/model.onnx").unlink(), "ranker/1/model.onnx: there is no such"),
    "cut off": (
        lambda f: (f / "user_tower/1/model.onnx").write_bytes((f / "user_tower/1/model.onnx").read_bytes()[:5000]),
        "user_tower/1/model.onnx: differs",
    ),
    "not onnx": (
        spoil_ranker,
        "ranker/1/model.onnx: (onnxruntime|Triton) can't load it",
    ),
    "wrong dimensions": (lambda f: edit_manifest(f, dimensions=32), r"item_vectors \[batch, 32\]|float32 \[batch"),
    "no dimensions": (lambda f: edit_manifest(f, dimensions=0), "`dimensions` must be 1 to"),
    "unknown feature": (lambda f: edit_manifest(f, ranker_features=["x"]), "unknown ones: x"),
    "objectives missing": (lambda f: edit_manifest(f, objectives=["like"]), "lacks comment, completion"),
    "NaN in the item tower": (lambda f: rewrite(f, "item_tower", poison), "not finite"),
    "NaN in the user tower": (lambda f: rewrite(f, "user_tower", poison), "not finite"),
    "NaN in the ranker": (lambda f: rewrite(f, "ranker", poison), "not finite"),
    "an input nobody knows": (
        lambda f: rewrite(f, "item_tower", rename_input),
        "item_tower/1/model.onnx: .*secret_sauce",
    ),
    "another version inside": (lambda f: edit_manifest(f, version="else"), "`version` is else"),
    "a file outside": (
        lambda f: edit_manifest(f, files=digests(f) | {"../../etc/passwd": "0"}),
        "lies outside of its version",
    ),
}


@pytest.mark.parametrize(("breakage", "message"), BREAKAGES.values(), ids=list(BREAKAGES))
async def test_a_broken_version_is_refused_with_the_reason_and_the_loaded_one_serves_on(
    open_repository: Callable[[Path], Any], base: Path, tmp_path: Path, breakage: Any, message: str
) -> None:
    for name in ("good", "bad"):
        shutil.copytree(base, tmp_path / name)
    edit_manifest(tmp_path / "good", version="good")
    edit_manifest(tmp_path / "bad", version="bad")
    repository = await open_repository(tmp_path)
    good = await repository.load("good")
    breakage(tmp_path / "bad")

    with pytest.raises(ModelRefused, match=message):
        await repository.load("bad")

    assert len(await good.item_vectors(encode_items(VIDEOS))) == len(VIDEOS)


@pytest.mark.parametrize("pointer", ["", "../x", ".hidden", "a/b", b"\xff\xfe"])
async def test_a_pointer_that_names_no_version_is_refused(
    open_repository: Callable[[Path], Any], tmp_path: Path, pointer: str | bytes
) -> None:
    (tmp_path / "serving").write_bytes(pointer if isinstance(pointer, bytes) else pointer.encode())

    with pytest.raises(ModelRefused, match="serving"):
        await (await open_repository(tmp_path)).wanted()


def test_the_base_version_is_the_same_bytes_each_time(base: Path, tmp_path: Path) -> None:
    write(tmp_path / "again")

    assert (tmp_path / "again" / "version.json").read_bytes() == (base / "version.json").read_bytes()
    assert digests(tmp_path / "again") == digests(base)


def test_every_array_of_a_batch_has_a_declared_shape() -> None:
    from rank_svc.scorers.layout import input_shapes

    named = {f.name for kind in (ItemBatch, UserBatch) for f in fields(kind)}

    assert named <= set(input_shapes(D))
