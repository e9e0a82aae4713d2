"""What is particular to the graph in Neo4j: its URL, its schema, its plans, its statements."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from neo4j import AsyncDriver, AsyncManagedTransaction, AsyncSession, Query

from graph_svc.follows.store import Edge
from graph_svc.follows.stores import SCHEMES, neo4j_cypher, neo4j_schema
from graph_svc.follows.stores.neo4j import Neo4jFollowGraph
from graph_svc.follows.stores.neo4j_server import Address, Server
from svc_kit.backends import EngineUnusable, migrate, verify
from svc_kit.errors import AppError, Reason
from tests.graph.follows.conftest import SETTING, emptied
from tests.support.engines import server_url, servers
from tests.support.relay import relay

STATEMENTS: Mapping[str, Query] = {
    name: value if isinstance(value, Query) else Query(value)
    for name, value in vars(neo4j_cypher).items()
    if name.isupper() and isinstance(value, str | Query) and name not in {"INDEXES", "VERSION", "AWAIT_INDEXES"}
}
PARAMETERS: Mapping[str, Any] = {
    "ids": [1, 2],
    "keys": [[1, 2]],
    "rows": [[1, 2, 1, 5]],
    "severed": [1],
    "seen": [[1, 5]],
    **dict.fromkeys(("id", "viewer", "popular", "friends", "named"), 1),
    **dict.fromkeys(("before", "after", "since", "limit", "after_from", "after_to", "upto_from", "upto_to"), 9),
}


@pytest.fixture(params=servers("neo4j"))
async def url(request: pytest.FixtureRequest) -> str:
    return await emptied(server_url(request.param))


@asynccontextmanager
async def driver(url: str) -> AsyncIterator[AsyncDriver]:
    async with Address.of(url).driver() as opened:
        yield opened


def changed(url: str, *, password: str | None = None, port: int | None = None, path: str = "") -> str:
    parts = urlsplit(url)
    user, secret = parts.username, password or parts.password
    return urlunsplit((parts.scheme, f"{user}:{secret}@{parts.hostname}:{port or parts.port}", path, "", ""))


async def test_a_ready_server_is_verified_with_its_version(url: str) -> None:
    assert re.fullmatch(r"Neo4j \d+\.\d+\.\d+", await verify(SETTING, url, SCHEMES))


async def test_what_is_wrong_with_a_server_is_said_without_the_password(url: str) -> None:
    secret = "wrong-pass-word"
    for wrong, reason in {
        changed(url, password=secret): "wrong password",
        changed(url, password=secret, port=1): "unreachable",
        changed(url, path="/nowhere"): "there is no database nowhere",
    }.items():
        with pytest.raises(EngineUnusable, match=f"^{SETTING}=.*{reason}") as caught:
            await verify(SETTING, wrong, SCHEMES)
        assert secret not in str(caught.value)


async def test_a_server_that_hangs_is_given_up_in_time() -> None:
    async with relay("127.0.0.1", 1) as silent:
        await silent.silence()
        with pytest.raises(EngineUnusable, match=r"unreachable|no answer"):
            await verify(SETTING, f"bolt://127.0.0.1:{silent.port}", SCHEMES)


async def test_a_server_that_is_too_old_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neo4j_schema, "OLDEST", (9999, 0))
    for check in (verify, migrate):
        with pytest.raises(EngineUnusable, match=r"is too old: 9999\.0 or later"):
            await check(SETTING, url, SCHEMES)


async def test_a_missing_constraint_is_named_and_migrate_makes_it(url: str) -> None:
    async with driver(url) as opened:
        await opened.execute_query("DROP CONSTRAINT follows_ends")
    with pytest.raises(EngineUnusable, match="missing follows_ends: run `reelgraph migrate`"):
        await verify(SETTING, url, SCHEMES)
    await asyncio.gather(*(migrate(SETTING, url, SCHEMES) for _ in range(4)))
    assert await verify(SETTING, url, SCHEMES)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("neo4j://u:p@host/db?poool=3", "unknown option poool"),
        ("neo4j://u:p@host?pool=0", "pool=0"),
        ("neo4j://", "names no host"),
        ("bolt://host?ca=/ca.pem", r"needs bolt\+s"),
    ],
)
def test_a_url_that_says_nothing_useful_is_refused(url: str, reason: str) -> None:
    with pytest.raises(EngineUnusable, match=reason):
        Address.of(url).driver()


def test_a_url_names_server_user_database_and_pool() -> None:
    url = "neo4j+s://ann%40x:p%2Fw@graph.test:7000/reels?pool=7"
    assert Address.of(url) == Address("neo4j+s://graph.test:7000", ("ann@x", "p/w"), "reels", 7, "")
    assert Address.of("bolt://localhost") == Address("bolt://localhost", None, None, 50, "")


def operators(plan: Mapping[str, Any]) -> Iterator[str]:
    yield f"{plan['operatorType'].partition('@')[0]} {plan['args'].get('Details', '')}"
    for child in plan.get("children", []):
        yield from operators(child)


async def plan_of(opened: AsyncDriver, name: str) -> list[str]:
    summary = (await opened.execute_query(f"EXPLAIN {STATEMENTS[name].text}", dict(PARAMETERS))).summary
    assert [status.gql_status for status in summary.gql_status_objects if status.is_notification] == []
    assert summary.plan
    return list(operators(summary.plan))


async def test_no_statement_draws_a_warning_or_reads_everything(url: str) -> None:
    scans = {"POPULAR": ["NodeByLabelScan a:Popular"], "MOST_FOLLOWED": ["NodeByLabelScan a:Account"]}
    async with driver(url) as opened:
        for name in STATEMENTS:
            plan = await plan_of(opened, name)
            assert [step for step in plan if "Scan" in step] == scans.get(name, []), name


async def test_pages_of_lists_come_from_an_index_in_its_order(url: str) -> None:
    async with driver(url) as opened:
        for name in ("FOLLOWERS", "FOLLOWEES", "FOLLOWER_IDS", "ACTIVE_FOLLOWER_IDS", "ENDED_BEFORE"):
            plan = [step.split()[0] for step in await plan_of(opened, name)]
            plan = [step for step in plan if step != "CacheProperties"]
            assert plan[:3] == ["ProduceResults", "EagerAggregation", "Limit"], name
            assert "IndexSeek" in plan[3], name
            assert len(plan) == 4, name


async def test_degrees_are_looked_up_and_not_counted(url: str) -> None:
    async with driver(url) as opened:
        plan = await plan_of(opened, "DEGREES")
    assert len(re.findall("getDegree", "".join(plan))) == 2
    assert not [step for step in plan if "Expand" in step]


async def test_following_matches_both_ends_and_merges_nothing(url: str) -> None:
    async with driver(url) as opened:
        for name in ("HELD", "BEGIN", "END", "RENEW", "REMOVE", "LOCK", "NOTE_ACTIVE"):
            assert not [step for step in await plan_of(opened, name) if "Merge" in step or "Expand" in step], name


async def test_a_degree_costs_the_same_with_many_followers_as_with_few(url: str) -> None:
    graph = Neo4jFollowGraph(Server(Address.of(url)))
    await graph.apply([Edge(i, 7, True, 1, i) for i in range(100, 2100)] + [Edge(1, 8, True, 1, 5)])
    await graph.close()

    async def hits(opened: AsyncDriver, user_id: int) -> int:
        query, parameters = f"PROFILE {STATEMENTS['DEGREES'].text}", {**PARAMETERS, "ids": [user_id], "severed": []}
        return total_hits((await opened.execute_query(query, parameters)).summary.profile or {})

    async with driver(url) as opened:
        assert await hits(opened, 7) <= await hits(opened, 8) + 1


def total_hits(profile: Mapping[str, Any]) -> int:
    return int(profile["dbHits"]) + sum(total_hits(child) for child in profile.get("children", []))


async def test_statements_are_fixed_texts_and_values_go_in_as_parameters(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with driver(url) as opened:
        await opened.execute_query("MATCH (a:Account {id: 7777}) DETACH DELETE a")
    asked: set[str] = set()
    for kind in (AsyncManagedTransaction, AsyncSession):
        run = kind.run

        async def recorded(self: Any, statement: Any, *rest: Any, run: Any = run, **more: Any) -> Any:
            asked.add(statement.text if isinstance(statement, Query) else statement)
            return await run(self, statement, *rest, **more)

        monkeypatch.setattr(kind, "run", recorded)
    graph = Neo4jFollowGraph(Server(Address.of(url)))
    await graph.apply([Edge(1, 2, True, 1, 10), Edge(2, 3, True, 1, 11), Edge(3, 1, False, 2, 12)])
    await graph.apply([Edge(1, 2, False, 2, 20), Edge(2, 3, True, 3, 21), Edge(3, 1, False, 4, 22)])
    await graph.apply([Edge(1, 2, True, 3, 30)])
    await graph.replace((0, 0), (2, 9), [Edge(1, 7777, True, 1, 10)], 99)
    await graph.replace((0, 0), None, [], 99)
    for read in (graph.followers, graph.followees, graph.follower_ids):
        await read(1, 0, 5)
    await graph.note_active({1: 5, 7777: 6})
    await graph.active_at(1)
    await graph.active_follower_ids(1, 0, 5, 1)
    await graph.apply([Edge(3, 2, False, 2, 12)])
    await graph.prune(99, 5)
    await graph.degrees([1, 2], 3, [4])
    for walk in (graph.mutuals, graph.friends_of_friends):
        await walk(1, 5)
    await graph.popular(5)
    await graph.close()
    assert asked == {statement.text for statement in STATEMENTS.values()}


async def test_a_refused_user_is_unavailable_to_callers_and_tells_them_nothing(url: str) -> None:
    graph = Neo4jFollowGraph(Server(Address.of(changed(url, password="wrong-pass-word"))))
    for call in (graph.followers(1, 0, 5), graph.apply([Edge(1, 2, True, 1, 1)])):
        with pytest.raises(AppError, match=r"^The follow graph is not available at the moment") as caught:
            await call
        assert caught.value.reason is Reason.UNAVAILABLE
    await graph.close()
