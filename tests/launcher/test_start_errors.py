"""What is wrong with an engine is said at start, by its setting, without its password: engine by engine, fault by
fault, and all at once."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from _pytest.mark import ParameterSet

from feed_svc.search.stores import meilisearch_setup
from graph_svc.follows.stores import neo4j_cypher, neo4j_schema
from launcher.doctor import examine
from launcher.engines import EVERY, require_engines
from rank_svc.scorers.stores import triton
from svc_kit import backends
from svc_kit.backends import VERIFY_S, EngineUnusable
from svc_kit.bus import kafka_admin
from svc_kit.caches import checks
from svc_kit.cassandra import schema
from svc_kit.databases import mysql, postgres
from svc_kit.settings import PlatformSettings
from tests.support.engines import server_url, servers
from tests.support.ports import free_port

BOUND_S = 6 * VERIFY_S
"""Far above the product's own limit: the machine may be busy, and a start that hangs must fail the test."""
WRONG = "wr0ng-passw0rd"
ABSENT = f"absent{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class Subject:
    """An engine: where it is set, and how a setting is made wrong."""

    setting: str
    role: str
    oldest: tuple[Any, str, object] | None
    """Where the oldest version that will do is written, and one that no server has."""
    absent: str | None
    """A path, or a query, of what nobody has made; None where the address names nothing that must be made."""
    example: str
    """An address at `PLACE`, with the password `WRONG`."""


_NEVER = (9999, 0)
SUBJECTS: Mapping[str, Subject] = {
    "postgres": Subject(
        *("db_url", "graph", (postgres, "LEAST_VERSION", 99), f"/{ABSENT}"), "postgresql://u:WRONG@PLACE/x"
    ),
    "mysql": Subject(*("db_url", "graph", (mysql, "LEAST_MARIADB", _NEVER), f"/{ABSENT}"), "mysql://u:WRONG@PLACE/x"),
    "neo4j": Subject(*("graph_url", "graph", (neo4j_schema, "OLDEST", _NEVER), None), "neo4j://u:WRONG@PLACE"),
    "redis": Subject(*("cache_url", "gateway", (checks, "SERVER_VERSION", _NEVER), None), "redis://:WRONG@PLACE/0"),
    "redis-cluster": Subject(
        *("cache_url", "gateway", (checks, "CLUSTER_VERSION", _NEVER), None), "redis-cluster://:WRONG@PLACE"
    ),
    "cassandra": Subject(
        *("wide_url", "rank", (schema, "LEAST_VERSION", 99), f"/{ABSENT}"), "cassandra://u:WRONG@PLACE/x"
    ),
    "kafka": Subject(
        *("bus_url", "feed", (kafka_admin, "OLDEST_VERSION", _NEVER), f"?prefix={ABSENT}."), "kafka://u:WRONG@PLACE"
    ),
    "s3": Subject(*("blobs_url", "media", None, f"/{ABSENT}"), "s3://key:WRONG@PLACE/bucket?secure=false"),
    "triton": Subject(
        *("models_url", "rank", (triton, "OLDEST_MINOR", 9999), f"?repository=/{ABSENT}"),
        "triton://:WRONG@PLACE?repository=/nowhere",
    ),
    "meilisearch": Subject(
        *("search_url", "feed", (meilisearch_setup, "OLDEST", _NEVER), f"?index_prefix={ABSENT}_"),
        "meilisearch://:WRONG@PLACE",
    ),
}


@pytest.fixture(autouse=True)
def no_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "AGAIN_S", 0.0)


@pytest.fixture
def settings(tmp_path: Path) -> PlatformSettings:
    return PlatformSettings(data_dir=tmp_path)


async def refused(settings: PlatformSettings, roles: set[str]) -> list[str]:
    """What a start with these settings says, line by line."""
    async with asyncio.timeout(BOUND_S):
        with pytest.raises(EngineUnusable) as caught:
            await require_engines(settings, roles)
    return str(caught.value).splitlines()


async def refusal(settings: PlatformSettings, engine: str, url: str) -> str:
    """What a start says of the one engine at `url`; nothing of its password."""
    subject = SUBJECTS[engine]
    lines = await refused(settings.model_copy(update={subject.setting: url}), {subject.role})
    [line] = [line for line in lines if line.startswith(f"REELGRAPH_{subject.setting.upper()}=")]
    for secret in filter(None, (WRONG, urlsplit(url).password)):
        assert secret not in line and unquote(secret) not in line
    return line


def at(place: str, engine: str) -> str:
    """The address of an engine at `place`."""
    return SUBJECTS[engine].example.replace("PLACE", place).replace("WRONG", WRONG)


def elsewhere(url: str, absent: str) -> str:
    """The same server, with a path or a query of what is not there."""
    mark = absent[0]
    if mark == "/":
        return urlsplit(url)._replace(path=absent).geturl()
    return urlsplit(url)._replace(query=absent[1:]).geturl()


def known(chosen: Callable[[Subject], object]) -> list[ParameterSet]:
    return servers(*(name for name, subject in SUBJECTS.items() if chosen(subject)))


@pytest.mark.parametrize("engine", known(lambda _: True))
async def test_a_wrong_password_is_said_at_start(engine: str, settings: PlatformSettings) -> None:
    url = server_url(engine)
    password = urlsplit(url).password
    assert password
    line = await refusal(settings, engine, url.replace(f":{password}@", f":{WRONG}@"))
    assert re.search(r"(wrong|refuses)[^:]*(password|secret key)|key is wrong", line), line


@pytest.mark.parametrize("engine", known(lambda subject: subject.oldest))
async def test_a_server_that_is_too_old_is_said_at_start(
    engine: str, settings: PlatformSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    oldest = SUBJECTS[engine].oldest
    assert oldest
    monkeypatch.setattr(*oldest)
    line = await refusal(settings, engine, server_url(engine))
    assert re.search(r"too old|or newer is needed", line), line


@pytest.mark.parametrize("engine", known(lambda subject: subject.absent))
async def test_what_migrate_has_not_made_is_said_at_start(engine: str, settings: PlatformSettings) -> None:
    absent = SUBJECTS[engine].absent
    assert absent
    line = await refusal(settings, engine, elsewhere(server_url(engine), absent))
    assert ABSENT in line
    assert "reelgraph migrate" in line or engine == "triton", line


@pytest.mark.parametrize("engine", known(lambda subject: subject.setting == "graph_url"))
async def test_a_graph_without_our_constraints_is_said_at_start(
    engine: str, settings: PlatformSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(neo4j_cypher.SCHEMA, ABSENT, "")
    line = await refusal(settings, engine, server_url(engine))
    assert re.search(rf"missing .*{ABSENT}: run `reelgraph migrate`", line), line


@pytest.mark.parametrize("engine", SUBJECTS)
async def test_nobody_at_the_address_is_said_at_start(engine: str, settings: PlatformSettings) -> None:
    place = f"127.0.0.1:{free_port()}"
    line = await refusal(settings, engine, at(place, engine))
    assert place in line


@pytest.mark.parametrize("setting", sorted({subject.setting for subject in SUBJECTS.values()} | {"vectors_url"}))
async def test_an_unknown_scheme_is_said_at_start_with_those_that_there_are(
    setting: str, settings: PlatformSettings
) -> None:
    lines = await refused(settings.model_copy(update={setting: f"oracle://u:{WRONG}@host"}), set(EVERY))
    told = [line for line in lines if line.startswith(f"REELGRAPH_{setting.upper()}=oracle:")]
    assert told
    for line in told:
        assert "unknown scheme; valid: " in line and WRONG not in line


async def test_a_common_database_without_a_name_is_said_by_its_setting_beside_the_rest(
    settings: PlatformSettings,
) -> None:
    wrong = {"db_url": f"mysql://u:{WRONG}@host", "models_url": "oracle://"}
    lines = await refused(settings.model_copy(update=wrong), {"graph", "rank"})
    assert [line.partition("=")[0] for line in lines] == ["REELGRAPH_DB_URL", "REELGRAPH_MODELS_URL"]
    assert "names no database" in lines[0] and WRONG not in lines[0]


@pytest.fixture
def silent() -> Iterator[str]:
    """A place where connections are made and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def all_at(place: str, cache: str) -> dict[str, str]:
    """Every engine's setting, all at one place."""
    return {
        "graph_db_url": at(place, "postgres"),
        "media_db_url": at(place, "mysql"),
        "rank_db_url": at(place, "postgres"),
        "feed_db_url": at(place, "mysql"),
        **{
            SUBJECTS[name].setting: at(place, name)
            for name in SUBJECTS
            if SUBJECTS[name].setting[:2] not in ("db", "ca")
        },
        "cache_url": at(place, cache),
    }


@pytest.mark.parametrize("cache", ["redis", "redis-cluster"])
async def test_engines_that_never_answer_are_all_named_at_start(
    cache: str, settings: PlatformSettings, silent: str
) -> None:
    wrong = all_at(silent, cache)
    lines = await refused(settings.model_copy(update=wrong), set(EVERY))
    assert {line.partition("=")[0] for line in lines} == {f"REELGRAPH_{name.upper()}" for name in wrong}
    assert WRONG not in "\n".join(lines)


async def test_doctor_says_all_that_is_wrong_in_one_run(
    settings: PlatformSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("REELGRAPH_FEED_ARCHIVE_URL", at(place, "s3"))
    wrong = all_at(place, "redis") | {"vectors_url": f"oracle://u:{WRONG}@host", "rank_db_url": "mysql://h"}
    given = settings.model_copy(update={**wrong, "data_dir": settings.data_dir / "absent"})
    async with asyncio.timeout(BOUND_S):
        assert not await examine(given)
    printed = capsys.readouterr().out
    failed = [line for line in printed.splitlines() if line.startswith("FAIL")]
    for name in (*wrong, "feed_archive_url"):
        assert any(f"REELGRAPH_{name.upper()}=" in line for line in failed), f"{name}:\n{printed}"
    assert any("data folder" in line and "does not exist" in line for line in failed)
    assert WRONG not in printed
