"""What Meilisearch adds to the contract of a search index: tasks in a queue, settings, keys, and more than one writer.

The server is the fake one; `tests/contract` runs on a real one where there is any.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from feed_svc.schema import metadata
from feed_svc.search.entries import Entry
from feed_svc.search.store import Document, Held, Key, Kind, Put, Remove, SetPopularity
from feed_svc.search.stores import SEARCH_SCHEMES, meilisearch
from feed_svc.search.stores.meilisearch import MeiliIndex
from feed_svc.search.stores.meilisearch_documents import document, document_id, quoted
from feed_svc.search.stores.meilisearch_server import parse
from feed_svc.search.turns import LeasedTurn
from svc_kit.backends import EngineUnusable, migrate, verify
from svc_kit.clock import SystemClock
from svc_kit.db import Database, connect
from svc_kit.errors import AppError, Reason
from tests.support.fake_meilisearch import KEY, FakeMeilisearch, fake_meilisearch

SETTING = "REELGRAPH_SEARCH_URL"
NAME = "reelgraph_search_v1"
NOBODY = "meilisearch://:key@127.0.0.1:1"


@pytest.fixture
def served() -> Iterator[tuple[str, FakeMeilisearch]]:
    with fake_meilisearch() as running:
        yield running


@pytest.fixture
def url(served: tuple[str, FakeMeilisearch]) -> str:
    return served[0]


@pytest.fixture
def fake(served: tuple[str, FakeMeilisearch]) -> FakeMeilisearch:
    return served[1]


@pytest.fixture
async def index(url: str) -> MeiliIndex:
    await meilisearch.migrate(url)
    return await meilisearch.open(url)


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    opened = connect(f"sqlite:///{tmp_path / 'feed.db'}")
    async with opened.write() as connection:
        await connection.run_sync(metadata.create_all)
    yield opened
    await opened.close()


def cats(number: int, version: int = 1) -> Put:
    return Put(Document((Kind.VIDEO, str(number)), version, text=f"cats v{version}"))


async def found(index: MeiliIndex, query: str = "cats") -> list[str]:
    return [hit.key[1] for hit in await index.search(query, list(Kind), 100)]


# ---- Setting up -------------------------------------------------------------------------------------------------


async def test_an_index_is_made_by_migrate_however_many_do_it_at_once(url: str, fake: FakeMeilisearch) -> None:
    with pytest.raises(EngineUnusable, match=f"no index {NAME}; run `reelgraph migrate`"):
        await verify(SETTING, url, SEARCH_SCHEMES)

    await asyncio.gather(*(migrate(SETTING, url, SEARCH_SCHEMES) for _ in range(4)))

    assert await verify(SETTING, url, SEARCH_SCHEMES) == f"Meilisearch 1.36, index {NAME}"
    tasks = len(fake.tasks)
    await migrate(SETTING, url, SEARCH_SCHEMES)
    assert len(fake.tasks) == tasks


async def test_other_settings_are_found_and_put_right(url: str, fake: FakeMeilisearch, index: MeiliIndex) -> None:
    fake.indexes[NAME].settings["stopWords"] = ["cats"]

    with pytest.raises(EngineUnusable, match="not set up as this version needs it; run `reelgraph migrate`"):
        await verify(SETTING, url, SEARCH_SCHEMES)
    await migrate(SETTING, url, SEARCH_SCHEMES)

    await verify(SETTING, url, SEARCH_SCHEMES)
    assert fake.indexes[NAME].settings["stopWords"] == []


@pytest.mark.parametrize(
    ("version", "rule"), [("1.6.2", "attribute"), ("1.35.0", "attribute"), ("1.53.1", "attributeRank")]
)
async def test_the_rule_for_attributes_is_the_one_that_the_version_knows(version: str, rule: str) -> None:
    with fake_meilisearch(version) as (url, fake):
        await migrate(SETTING, url, SEARCH_SCHEMES)
        await verify(SETTING, url, SEARCH_SCHEMES)

        assert fake.indexes[NAME].settings["rankingRules"][2] == rule


async def test_an_old_version_is_refused() -> None:
    with fake_meilisearch("1.5.1") as (url, _), pytest.raises(EngineUnusable, match=r"1\.5 is too old; at least 1\.6"):
        await migrate(SETTING, url, SEARCH_SCHEMES)


@pytest.mark.parametrize("key", ["", "wrong"])
async def test_a_wrong_key_is_named_and_not_shown(url: str, key: str) -> None:
    with pytest.raises(EngineUnusable, match=f"{SETTING}=.*the key is (wrong|missing)") as refused:
        await verify(SETTING, url.replace(KEY, key), SEARCH_SCHEMES)

    assert "wrong@" not in str(refused.value)


async def test_a_server_out_of_reach_is_named(url: str) -> None:
    with pytest.raises(EngineUnusable, match=r"can't be reached at http://127\.0\.0\.1:1$"):
        await verify(SETTING, NOBODY, SEARCH_SCHEMES)


async def test_an_index_of_somebody_else_is_left_alone(url: str, fake: FakeMeilisearch, index: MeiliIndex) -> None:
    fake.indexes[NAME].primary_key = "isbn"

    with pytest.raises(EngineUnusable, match="belongs to something else; choose another index_prefix"):
        await verify(SETTING, url, SEARCH_SCHEMES)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("meilisearch://", "must be meilisearch://"),
        ("meilisearch://h?index_prefix=a/b", "index_prefix may have"),
        ("meilisearch://h?timeout_ms=-1", "timeout_ms=-1"),
        ("meilisearch://h?speed=9", "unknown option speed"),
    ],
)
async def test_a_wrong_url_says_what_is_wrong_with_it(wrong: str, message: str) -> None:
    with pytest.raises(EngineUnusable, match=message):
        await verify(SETTING, wrong, SEARCH_SCHEMES)


def test_an_address_has_the_ports_that_are_usual() -> None:
    assert parse("meilisearch://:k%40y@h").http == "http://h:7700"
    assert parse("meilisearch+https://:k%40y@h").http == "https://h:443"
    assert parse("meilisearch://:k%40y@[::1]:7701/behind/").http == "http://[::1]:7701/behind"
    assert parse("meilisearch://:k%40y@h").key == "k@y"


# ---- Documents --------------------------------------------------------------------------------------------------


def test_every_key_has_an_id_of_its_own_that_the_server_takes() -> None:
    names = ["cats", "日本", "ca-ts", "1", "x" * 500, 'a"b']
    ids = {document_id((kind, name)) for kind in Kind for name in names}

    assert len(ids) == len(names) * len(Kind)
    assert all(name.replace("-", "").isalnum() and name.isascii() and len(name) <= 100 for name in ids)


def test_a_removed_document_has_nothing_to_be_found_by() -> None:
    kept = document(Entry(Document((Kind.VIDEO, "1"), 3), removed=True))

    assert set(kept) == {"id", "key", "body"}


def test_values_in_filters_can_not_end_them() -> None:
    assert quoted('a" OR kind = "user') == '"a\\" OR kind = \\"user"'


async def test_a_name_that_is_asked_for_comes_before_longer_ones(index: MeiliIndex) -> None:
    names = {"1": "cats_daily", "2": "cats", "3": "cats cats cats"}
    await index.write([Put(Document((Kind.USER, n), 1, names=(name,), popularity=9)) for n, name in names.items()])

    assert (await found(index))[0] == "2"


async def test_many_documents_are_written_and_read_in_parts(
    index: MeiliIndex, fake: FakeMeilisearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meilisearch, "DOCUMENTS_AT_ONCE", 7)
    keys: list[Key] = [(Kind.VIDEO, str(n)) for n in range(1, 31)]

    await index.write([cats(n) for n in range(1, 31)])

    assert await index.held(keys) == dict.fromkeys(keys, Held(1, 0))
    assert sum(task["type"] == "documentAdditionOrUpdate" for task in fake.tasks) == 5


async def test_what_changes_nothing_gives_the_server_no_work(index: MeiliIndex, fake: FakeMeilisearch) -> None:
    await index.write([cats(1)])
    tasks = len(fake.tasks)

    await index.write([cats(1), SetPopularity((Kind.VIDEO, "9"), 5), SetPopularity((Kind.VIDEO, "1"), 0)])

    assert len(fake.tasks) == tasks


# ---- Writers ----------------------------------------------------------------------------------------------------


async def test_what_a_killed_writer_left_in_the_queue_is_waited_for_before_versions_are_compared(
    index: MeiliIndex, fake: FakeMeilisearch
) -> None:
    await index.write([cats(1)])
    fake.may_work.clear()
    left = asyncio.create_task(index.write([cats(1, version=5)]))
    while fake.tasks[-1]["status"] != "enqueued":
        await asyncio.sleep(0)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)

    tasks = len(fake.tasks)
    fake.asked.clear()
    late = asyncio.create_task(index.write([cats(1, version=3)]))
    while len(fake.tasks) == tasks and f"GET /tasks/{tasks - 1}" not in fake.asked:
        await asyncio.sleep(0.001)
    fake.may_work.set()
    await late

    assert await index.held([(Kind.VIDEO, "1")]) == {(Kind.VIDEO, "1"): Held(5, 0)}


async def test_processes_write_by_turns_and_none_overwrites_a_higher_version(
    url: str, index: MeiliIndex, db: Database
) -> None:
    writers = [await meilisearch.open(url, LeasedTurn(db, SystemClock(), wait_s=60)) for _ in range(3)]

    await asyncio.gather(
        *(writers[v % 3].write([cats(n, version=v)]) for n in (1, 2, 3) for v in (4, 9, 2, 7, 1, 8, 3, 6, 5))
    )

    assert await index.held([(Kind.VIDEO, str(n)) for n in (1, 2, 3)]) == {
        (Kind.VIDEO, str(n)): Held(9, 0) for n in (1, 2, 3)
    }


async def test_a_rebuild_keeps_other_processes_from_writing_past_it(url: str, index: MeiliIndex, db: Database) -> None:
    one, other = [await meilisearch.open(url, LeasedTurn(db, SystemClock(), wait_s=wait)) for wait in (60.0, 0.0)]
    async with one.rebuild() as fresh:
        await fresh.write([cats(1)])
        with pytest.raises(AppError) as refused:
            await other.write([cats(2)])
        with pytest.raises(AppError):
            async with other.rebuild():
                pass
        await one.write([cats(3)])

    await other.write([cats(4)])

    assert refused.value.reason is Reason.UNAVAILABLE and refused.value.retry_after_ms
    assert sorted(await found(other)) == ["1", "3", "4"]


async def test_a_killed_rebuild_is_in_nobodys_way(url: str, index: MeiliIndex, fake: FakeMeilisearch) -> None:
    await index.write([cats(1)])
    await meilisearch.migrate(f"{url}?index_prefix=x")
    fake.indexes[f"{NAME}_next"] = fake.indexes.pop("xsearch_v1")

    async with index.rebuild() as fresh:
        await fresh.write([cats(2)])

    assert await found(index) == ["2"]
    assert set(fake.indexes) == {NAME}


# ---- Faults -----------------------------------------------------------------------------------------------------


READS: list[Callable[[MeiliIndex], object]] = [
    lambda index: index.search("cats", list(Kind), 10),
    lambda index: index.held([(Kind.VIDEO, "1")]),
    lambda index: index.count(),
    lambda index: index.check(),
    lambda index: index.write([Remove((Kind.VIDEO, "1"), 1)]),
]


@pytest.mark.parametrize("ask", READS, ids=["search", "held", "count", "check", "write"])
@pytest.mark.parametrize("is_there", [True, False], ids=["no index", "no server"])
async def test_without_a_server_or_an_index_it_is_unavailable_with_a_hint(
    url: str, ask: Callable[[MeiliIndex], object], is_there: bool
) -> None:
    index = await meilisearch.open(url if is_there else NOBODY)

    with pytest.raises(AppError) as failed:
        await ask(index)  # type: ignore[misc]

    assert failed.value.reason is Reason.UNAVAILABLE and failed.value.retry_after_ms
    assert "127.0.0.1" not in failed.value.message and "index_not_found" not in failed.value.message


async def test_a_server_behind_with_its_work_is_unavailable_and_its_work_is_done_all_the_same(
    url: str, index: MeiliIndex, fake: FakeMeilisearch
) -> None:
    hurried = await meilisearch.open(f"{url}?task_timeout_ms=50")
    fake.may_work.clear()

    with pytest.raises(AppError) as failed:
        await hurried.write([cats(1)])
    fake.may_work.set()
    await index.write([cats(1)])

    assert failed.value.reason is Reason.UNAVAILABLE
    assert await found(index) == ["1"]


async def test_a_rebuild_that_fails_leaves_nothing_behind(index: MeiliIndex, fake: FakeMeilisearch) -> None:
    await index.write([cats(1)])

    with pytest.raises(RuntimeError):
        async with index.rebuild() as fresh:
            await fresh.write([cats(2)])
            raise RuntimeError("the truth can't be read")

    assert set(fake.indexes) == {NAME}
    assert await found(index) == ["1"]
