"""What a model server adds to the contract of model serving: it dies, forgets, is shared and can be out of reach."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from rank_svc.scorers import wiring
from rank_svc.scorers.encoding import encode_items
from rank_svc.scorers.folder import VersionFolder
from rank_svc.scorers.store import RANK_FEATURES, ItemBatch, ModelRepository, RankRows, Scorer, UserBatch
from rank_svc.scorers.stores import SCHEMES, onnxruntime, triton
from rank_svc.scorers.stores.triton_server import TritonServer, parse
from rank_svc.scorers.trial import trial_videos
from reelgraph.rank.v1 import ranking_pb2
from reelgraph.rank.v1.features_pb2 import ViewerContext
from svc_kit.backends import EngineUnusable, verify
from svc_kit.errors import AppError, Reason
from svc_kit.rpc.client import AS_SERVICE
from tests.support.engines import servers
from tests.support.rank import rank_bench
from tests.support.triton import kill_what_runs, triton_url, unload_all

NOBODY = "triton://:key@127.0.0.1:1"
ITEMS = encode_items(trial_videos())
real = pytest.mark.parametrize("server", servers("triton"))


@pytest.fixture(scope="module", autouse=True)
def nothing_stays_loaded() -> Iterator[None]:
    yield
    asyncio.run(unload_all())


@pytest.fixture
def versions(base_model: Path, tmp_path: Path) -> Path:
    """A folder with one version of a name of this test's own."""
    folder = tmp_path / "versions"
    add_version(folder, base_model, f"v-{abs(hash(tmp_path)):x}")
    return folder


def add_version(folder: Path, base: Path, name: str) -> None:
    shutil.copytree(base, folder / name)
    manifest = folder / name / "version.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": name}))
    (folder / "serving").write_text(name)


async def repository(folder: Path, **options: object) -> triton.TritonRepository:
    """Patient, for a machine that does other things beside."""
    return await triton.open(triton_url(folder, **{"timeout_ms": 30_000, **options}), anyio.CapacityLimiter(2))


@pytest.fixture
async def models(server: str, versions: Path) -> AsyncIterator[ModelRepository]:
    opened = await repository(versions)
    yield opened
    await opened.close()


@pytest.fixture
async def scorer(models: ModelRepository, versions: Path) -> AsyncIterator[Scorer]:
    loaded = await models.load(await models.wanted())
    yield loaded
    (versions / "serving").write_text("none")
    await loaded.unload()


@pytest.fixture
async def server_itself(server: str, versions: Path) -> AsyncIterator[TritonServer]:
    opened = TritonServer(parse(triton_url(versions)))
    yield opened
    await opened.close()


async def names_of(server: TritonServer, scorer: Scorer) -> list[str]:
    return sorted(name for name in await server.last_asked() if f".{scorer.info.version}." in name)


def rows(n: int) -> tuple[ItemBatch, UserBatch, RankRows]:
    """Random arrays in the ranges that occur."""
    random = np.random.default_rng(n)

    def ids(*shape: int) -> Any:
        return random.integers(0, 2**62, shape)

    def floats(*shape: int) -> Any:
        return random.uniform(-1, 1, shape).astype(np.float32)

    items = ItemBatch(ids(n), ids(n), ids(n, 8), ids(n), floats(n), floats(n))
    tail = (ids(n, 100), ids(n, 100), ids(n, 100, 8), floats(n, 100, 64), np.abs(floats(n, 100, 10)), ids(n, 16))
    users = UserBatch(ids(n), *tail, ids(n), ids(n), ids(n), random.integers(0, 24, n))
    one = UserBatch(*(getattr(users, name)[:1] for name in UserBatch.__slots__))
    return items, users, RankRows(floats(n, len(RANK_FEATURES)), items, one, floats(n, 64), floats(n, 64))


@real
@pytest.mark.parametrize("n", [1, 37, 2500])
async def test_the_answers_are_those_of_the_process_itself(scorer: Scorer, versions: Path, n: int) -> None:
    here = await (await onnxruntime.open(versions.as_uri(), anyio.CapacityLimiter(2))).load(scorer.info.version)
    items, users, candidates = rows(n)

    assert await scorer.item_vectors(items) == pytest.approx(await here.item_vectors(items), abs=1e-4)
    assert await scorer.user_vectors(users) == pytest.approx(await here.user_vectors(users), abs=1e-4)
    theirs, ours = (await scorer.rank(candidates)).values, (await here.rank(candidates)).values
    assert theirs.keys() == ours.keys()
    for name, values in ours.items():
        assert theirs[name] == pytest.approx(values, rel=1e-4, abs=1e-4)


@real
async def test_many_callers_share_batches_and_each_gets_their_own_rows(scorer: Scorer) -> None:
    batches = [rows(n)[0] for n in range(1, 41)]
    alone = [await scorer.item_vectors(batch) for batch in batches]

    together = await asyncio.gather(*(scorer.item_vectors(batch) for batch in batches))

    for one, other in zip(alone, together, strict=True):
        assert other == pytest.approx(one, abs=1e-5)


@real
async def test_a_model_whose_process_died_is_loaded_again_and_the_call_answered(
    scorer: Scorer, server_itself: TritonServer
) -> None:
    before = await scorer.item_vectors(ITEMS)
    for name in await names_of(server_itself, scorer):
        kill_what_runs(name)

    async def answered() -> Any:
        try:
            return await scorer.item_vectors(ITEMS)
        except AppError as error:
            assert error.reason is Reason.UNAVAILABLE and error.retry_after_ms
            return None

    async with asyncio.timeout(120):
        while (after := await answered()) is None:
            pass
    assert (after == before).all()


@real
async def test_callers_who_gave_up_on_a_dead_model_have_it_loaded_again(
    scorer: Scorer, server_itself: TritonServer
) -> None:
    for name in await names_of(server_itself, scorer):
        kill_what_runs(name)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await scorer.item_vectors(ITEMS)

    async with asyncio.timeout(120):
        while True:
            try:
                async with asyncio.timeout(0.2):
                    assert len(await scorer.item_vectors(ITEMS)) == len(ITEMS.item_ids)
                break
            except (TimeoutError, AppError):
                continue


@real
async def test_a_server_that_forgot_its_models_is_given_them_again(scorer: Scorer, server_itself: TritonServer) -> None:
    before = await scorer.item_vectors(ITEMS)
    for name in await names_of(server_itself, scorer):
        await server_itself.unload(name)

    after = await asyncio.gather(*(scorer.item_vectors(ITEMS) for _ in range(10)))

    assert all((vectors == before).all() for vectors in after)


@real
async def test_a_model_that_can_not_be_given_again_is_unavailable_with_a_hint(
    scorer: Scorer, server_itself: TritonServer, versions: Path
) -> None:
    for name in await names_of(server_itself, scorer):
        await server_itself.unload(name)
    shutil.rmtree(versions / scorer.info.version)

    for _ in range(6):
        with pytest.raises(AppError) as failed:
            await scorer.item_vectors(ITEMS)
        assert failed.value.reason is Reason.UNAVAILABLE and failed.value.retry_after_ms


@real
async def test_a_replica_that_ends_leaves_the_serving_version_to_the_others(
    models: ModelRepository, versions: Path, server_itself: TritonServer
) -> None:
    first = await models.load(await models.wanted())
    other = await repository(versions)
    second = await other.load(await other.wanted())

    await first.unload()

    assert len(await names_of(server_itself, second)) == 3
    assert len(await second.item_vectors(ITEMS)) == len(ITEMS.item_ids)
    (versions / "serving").write_text("the-next")
    await second.unload()
    await other.close()
    assert await names_of(server_itself, second) == []


@real
async def test_calls_under_way_are_answered_before_a_version_is_unloaded(
    models: ModelRepository, versions: Path
) -> None:
    scorer = await models.load(await models.wanted())
    (versions / "serving").write_text("the-next")

    calls = [asyncio.create_task(scorer.item_vectors(ITEMS)) for _ in range(50)]
    await asyncio.sleep(0)
    await scorer.unload()

    assert all(len(vectors) == len(ITEMS.item_ids) for vectors in await asyncio.gather(*calls))


@real
async def test_a_version_that_a_killed_process_left_is_unloaded_when_the_next_one_comes(
    server: str, versions: Path, base_model: Path, server_itself: TritonServer
) -> None:
    left = await (await repository(versions)).load(VersionFolder(versions).wanted())
    add_version(versions, base_model, f"{left.info.version}-next")
    day_later = triton.TritonRepository(
        server_itself, VersionFolder(versions), anyio.CapacityLimiter(1), lambda: 10**10
    )

    scorer = await day_later.load(await day_later.wanted())

    assert len(await names_of(server_itself, scorer)) == 3
    assert await names_of(server_itself, left) == []
    (versions / "serving").write_text("none")
    await scorer.unload()


@real
async def test_more_calls_than_may_wait_are_refused_at_once(server: str, versions: Path) -> None:
    models = await repository(versions, in_flight=1)
    scorer = await models.load(await models.wanted())

    outcomes = await asyncio.gather(*(scorer.item_vectors(ITEMS) for _ in range(50)), return_exceptions=True)

    refused = [one for one in outcomes if isinstance(one, AppError) and one.reason is Reason.UNAVAILABLE]
    assert len(refused) == 46 and sum(isinstance(one, np.ndarray) for one in outcomes) == 4
    (versions / "serving").write_text("none")
    await scorer.unload()
    await models.close()


@real
async def test_a_usable_server_is_verified(server: str, versions: Path) -> None:
    found = await verify("REELGRAPH_MODELS_URL", triton_url(versions), SCHEMES)

    assert found.startswith("Triton 2.") and VersionFolder(versions).wanted() in found


@real
@pytest.mark.parametrize("key", ["", "wrong"])
async def test_a_wrong_key_is_named_and_not_shown(server: str, versions: Path, key: str) -> None:
    right = parse(triton_url(versions))
    url = f"triton://:{key}@{right.address}?repository={versions}"

    with pytest.raises(EngineUnusable, match=r"REELGRAPH_MODELS_URL=.*the key is (wrong|missing)") as refused:
        await verify("REELGRAPH_MODELS_URL", url, SCHEMES)

    assert right.key and right.key not in str(refused.value)


@real
async def test_a_folder_without_versions_is_named_and_migrate_puts_the_packaged_one_there(
    server: str, tmp_path: Path, base_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton, "BASE", base_model)
    url = triton_url(tmp_path / "new")
    with pytest.raises(EngineUnusable, match="reelgraph migrate"):
        await verify("REELGRAPH_MODELS_URL", url, SCHEMES)

    made = await asyncio.gather(*(triton.migrate(url) for _ in range(4)))

    assert set(made) == {f"version base-1 of {tmp_path / 'new'}"}
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["base-1", "serving"]
    await verify("REELGRAPH_MODELS_URL", url, SCHEMES)


@real
async def test_a_promotion_under_calls_fails_none_and_mixes_no_versions(
    server: str, tmp_path: Path, base_model: Path
) -> None:
    url = triton_url(tmp_path / "models", timeout_ms=30_000)
    async with rank_bench(tmp_path, base_model, models_url=url) as bench:
        await bench.tell(*(bench.story.published(i, tags=["cats"]) for i in range(1, 21)))
        await bench.refresh()
        add_version(tmp_path / "models", base_model, f"promoted-{abs(hash(tmp_path)):x}")
        request = ranking_pb2.RankCandidatesRequest(viewer=ViewerContext(viewer_id=7), video_ids=range(1, 21))
        versions: list[str] = []

        async def ask() -> None:
            while not versions or versions[-1] == "base-1":
                answer = await bench.platform.peer.call(bench.ranking.RankCandidates, request, AS_SERVICE)
                versions.append(answer.model_version)

        await asyncio.gather(ask(), bench.refresh("rank.model"))
        bench.clock.advance(120)
        await bench.refresh("rank.model")

        assert versions[-1].startswith("promoted-")
        assert set(versions) <= {"base-1", versions[-1]}
        await bench.service.checks["rank model"]()


async def test_without_its_server_the_service_starts_on_the_packaged_version_and_says_so(
    tmp_path: Path, base_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "PACKAGED", base_model)
    async with rank_bench(tmp_path, base_model, models_url=f"{NOBODY}?repository={tmp_path / 'models'}") as bench:
        await bench.refresh("rank.model")

        assert (await bench.retrieve(ViewerContext())).model_version == "base-1"
        with pytest.raises(AppError, match="model server"):
            await bench.service.checks["rank model"]()


async def test_a_server_out_of_reach_is_unavailable_with_a_hint(versions: Path) -> None:
    models = await triton.open(f"{NOBODY}?repository={versions}", anyio.CapacityLimiter(2))

    with pytest.raises(AppError) as failed:
        await models.load(await models.wanted())
    with pytest.raises(AppError):
        await models.check()

    assert failed.value.reason is Reason.UNAVAILABLE and failed.value.retry_after_ms
    await models.close()


async def test_a_server_out_of_reach_is_named_at_the_start(versions: Path) -> None:
    with pytest.raises(EngineUnusable, match=r"REELGRAPH_MODELS_URL=.*can't be reached at 127\.0\.0\.1:1"):
        await verify("REELGRAPH_MODELS_URL", f"{NOBODY}?repository={versions}", SCHEMES)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("triton://:key@host:8001", "repository=/folder"),
        ("triton://host?repository=/x", "must be triton://"),
        ("triton://host:8001?repository=/x&timeout_ms=0", "timeout_ms=0"),
        ("triton://host:8001?repository=/x&speed=high", "unknown option speed"),
    ],
)
async def test_a_wrong_url_says_what_is_wrong_with_it(url: str, message: str) -> None:
    with pytest.raises(EngineUnusable, match=message):
        await verify("REELGRAPH_MODELS_URL", url, SCHEMES)
