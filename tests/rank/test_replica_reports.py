"""What replicas say of themselves in the database, for `reelgraph models` and `reelgraph doctor`."""

from __future__ import annotations

from pathlib import Path

from rank_svc.versions.store import ReplicaState
from rank_svc.versions.stores.sql import SqlVersionLog
from svc_kit.db import connect
from tests.rank.test_models import add_version
from tests.support.rank import RankBench, rank_bench


async def said(bench: RankBench) -> list[ReplicaState]:
    db = connect(bench.platform.settings.service_db_url("rank"))
    try:
        return list(await SqlVersionLog(db).replicas(0))
    finally:
        await db.close()


async def test_a_replica_says_what_it_serves_how_its_index_is_and_how_long_changes_waited(bench: RankBench) -> None:
    await bench.refresh()
    await bench.tell(bench.story.published(1, tags=["cats"]))
    bench.clock.advance(2)
    await bench.refresh("rank.videos", "rank.recall", "rank.report")
    (first,) = await said(bench)
    bench.clock.advance(10)
    await bench.refresh("rank.report")
    (second,) = await said(bench)

    assert (first.version, first.refused, first.recall, first.videos) == ("base-1", "", 1.0, 1)
    assert (first.embedding_age_ms, second.embedding_age_ms) == (2000, -1)
    assert first.holder == second.holder and second.at_ms == first.at_ms + 10_000


async def test_a_replica_says_why_it_does_not_serve_what_it_should(
    bench: RankBench, tmp_path: Path, base_model: Path
) -> None:
    await bench.refresh()
    add_version(tmp_path, base_model, "bad", dimensions=32)
    await bench.refresh("rank.model", "rank.report")

    (state,) = await said(bench)
    assert state.version == "base-1" and "must be float32 [batch, 100, 32]" in state.refused


async def test_replicas_are_told_apart_and_all_come_to_the_same_version(tmp_path: Path, base_model: Path) -> None:
    async with (
        rank_bench(tmp_path, base_model, several=True) as one,
        rank_bench(tmp_path, base_model, several=True) as other,
    ):
        add_version(tmp_path, base_model, "next")
        for _ in range(2):
            for replica in (one, other):
                await replica.refresh("rank.model", "rank.report")
                replica.clock.advance(20)
        for replica in (one, other):
            await replica.refresh("rank.report")

        states = await said(one)
    assert [state.version for state in states] == ["next", "next"]
    assert states[0].holder != states[1].holder
