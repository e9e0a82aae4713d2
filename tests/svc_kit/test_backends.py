"""Choosing and examining engines: every mistake names the setting, and no message holds a password."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from svc_kit import backends
from svc_kit.backends import EngineUnusable, UnknownScheme, migrate, resolve, verify, without_secret

SETTING = "REELGRAPH_GRAPH_URL"
NAME = "an_engine_of_the_tests"
SCHEMES = {"engine": NAME}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setattr(backends, "AGAIN_S", 0.0)
    module = ModuleType(NAME)
    sys.modules[NAME] = module
    yield module
    del sys.modules[NAME]


async def test_an_unknown_scheme_names_the_setting_and_the_valid_ones() -> None:
    with pytest.raises(UnknownScheme, match=r"REELGRAPH_GRAPH_URL=oracle:.*valid: engine"):
        resolve(SETTING, "oracle://x", SCHEMES)


async def test_a_driver_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "an_adapter_of_the_tests.py").write_text("import no_such_driver.aio\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineUnusable, match=r"GRAPH_URL=x:\.\.\.: the package no_such_driver is not installed"):
        resolve(SETTING, "x://", {"x": "an_adapter_of_the_tests"})


async def test_what_is_wrong_with_an_engine_comes_with_the_setting_and_without_the_password(engine: ModuleType) -> None:
    async def wrong(_url: str) -> str:
        raise EngineUnusable("wrong password")

    engine.__dict__["verify"] = wrong
    with pytest.raises(EngineUnusable) as refused:
        await verify(SETTING, "engine://me:s3cret@host:1/x", SCHEMES)
    assert str(refused.value) == "REELGRAPH_GRAPH_URL=engine://me:***@host:1/x: wrong password"


async def test_an_engine_that_does_not_answer_is_given_up(engine: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(_url: str) -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(backends, "VERIFY_S", 0.01)
    engine.__dict__["verify"] = hangs
    with pytest.raises(EngineUnusable, match="no answer within"):
        await verify(SETTING, "engine://host", SCHEMES)


async def test_an_answer_that_comes_at_the_second_try_counts(engine: ModuleType) -> None:
    tries: list[str] = []

    async def late(url: str) -> str:
        tries.append(url)
        if len(tries) == 1:
            raise EngineUnusable("unreachable: timed out")
        return "Engine 1.0"

    engine.__dict__["verify"] = late
    assert await verify(SETTING, "engine://host", SCHEMES) == "Engine 1.0"


async def test_an_embedded_engine_has_nothing_to_verify_or_migrate(engine: ModuleType) -> None:
    assert (await verify(SETTING, "engine://", SCHEMES), await migrate(SETTING, "engine://", SCHEMES)) == ("", "")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pw@h:1/0", "redis://:***@h:1/0"),
        ("kafka://u:p:w@h:1,h2:2?x=1", "kafka://u:***@h:1,h2:2?x=1"),
        ("sqlite:////data/x.db", "sqlite:////data/x.db"),
        ("s3://bucket?region=x", "s3://bucket?region=x"),
        ("s3://AKIA:wJalr/K7MD/bPx@host/bucket", "s3://AKIA:***@host/bucket"),
        ("redis://:pa/S?x#y@h", "redis://:***@h"),
        ("neo4j://u:p@ss@h", "neo4j://u:***@h"),
        ("redis://KEY@h", "redis://***@h"),
        ("postgresql://h/db?user=u&password=S&sslpassword=T", "postgresql://h/db?user=u&password=***&sslpassword=***"),
        ("user://u:1/x@h", "user://u:***@h"),
        ("s3://bucket?prefix=a@b", "s3://***@b"),
    ],
)
def test_a_shown_url_has_no_password(url: str, shown: str) -> None:
    assert without_secret(url) == shown


@pytest.mark.parametrize("secret", ["pa/ss", "p?s", "p#s"])
async def test_a_password_that_a_url_would_be_cut_at_is_refused_and_not_shown(engine: ModuleType, secret: str) -> None:
    async def shows_all(url: str) -> str:
        raise ValueError(url)

    engine.__dict__["verify"] = engine.__dict__["migrate"] = shows_all
    for act in (verify, migrate):
        with pytest.raises(EngineUnusable, match="percent-encoded") as caught:
            await act(SETTING, f"engine://user:{secret}@host/name", SCHEMES)
        assert secret not in str(caught.value)


async def test_whatever_goes_wrong_in_an_adapter_names_the_setting(engine: ModuleType) -> None:
    async def reads_a_file(_url: str) -> str:
        raise FileNotFoundError("/nope")

    engine.__dict__["verify"] = reads_a_file
    with pytest.raises(EngineUnusable, match=f"^{SETTING}=engine://host: FileNotFoundError: /nope"):
        await verify(SETTING, "engine://host", SCHEMES)
