"""TLS between services: whoever shows the wrong certificate, or none where one is demanded, gets nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from svc_kit.errors import AppError, Reason
from svc_kit.rpc.client import Peer, open_channel, target_of
from svc_kit.rpc.server import RpcServer
from svc_kit.rpc.tls import Tls, tls_of
from svc_kit.settings import PlatformSettings
from tests.support.certificates import Authority
from tests.support.clock import FakeClock
from tests.support.platform import SERVICE_TOKEN, Tokens


@asynccontextmanager
async def serving(tls: Tls) -> AsyncIterator[str]:
    server = RpcServer([], Tokens(FakeClock()).authenticator)
    port = await server.start("127.0.0.1:0", tls.server_credentials())
    yield f"127.0.0.1:{port}"
    await server.stop(grace_s=0)


async def answers(address: str, tls: Tls | None) -> bool:
    async with open_channel(address, tls) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            request = health_pb2.HealthCheckRequest()
            await Peer(SERVICE_TOKEN).call(stub.Check, request, Tokens(FakeClock()).viewer(1), timeout_s=5)
        except AppError as error:
            assert error.reason in (Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED)
            return False
        return True


async def test_only_who_trusts_the_servers_authority_reaches_it(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    pair = ours.sign("graph")
    async with serving(Tls(pair.cert_file, pair.key_file)) as address:
        assert await answers(address, Tls(ca_file=ours.ca_file))
        assert not await answers(address, Tls(ca_file=theirs.ca_file))
        assert not await answers(address, None)


async def test_mutual_tls_refuses_who_shows_no_certificate_or_a_foreign_one(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    pair, mine, foreign = ours.sign("graph"), ours.sign("gateway"), theirs.sign("stranger")
    async with serving(Tls(pair.cert_file, pair.key_file, ours.ca_file, client_auth=True)) as address:
        assert await answers(address, Tls(mine.cert_file, mine.key_file, ours.ca_file))
        assert not await answers(address, Tls(ca_file=ours.ca_file))
        assert not await answers(address, Tls(foreign.cert_file, foreign.key_file, ours.ca_file))


async def test_a_certificate_for_another_name_is_refused_unless_that_name_is_wanted(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    pair = ours.sign("graph")
    async with serving(Tls(pair.cert_file, pair.key_file)) as address:
        assert not await answers(address, Tls(ca_file=ours.ca_file, server_name="graph.example.org"))
        assert await answers(address, Tls(ca_file=ours.ca_file, server_name="localhost"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"missing\.pem can't be read"):
        Tls(ca_file=str(tmp_path / "missing.pem")).channel_credentials()


@pytest.mark.parametrize(
    "given",
    [{"tls_cert_file": "a"}, {"tls_key_file": "a"}, {"tls_client_auth": True}],
)
def test_half_of_a_tls_setting_is_refused_by_name(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="REELGRAPH_TLS_"):
        PlatformSettings(**given)


def test_without_settings_nothing_is_encrypted() -> None:
    tls = tls_of(PlatformSettings())
    assert (tls.server_credentials(), tls.channel_credentials()) == (None, None)


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("graph.internal:9090", "graph.internal:9090"),
        ("127.0.0.1:1, 127.0.0.1:2", "ipv4:127.0.0.1:1,127.0.0.1:2"),
        ("[::1]:1,[::1]:2", "ipv6:[::1]:1,[::1]:2"),
    ],
)
def test_an_address_is_one_name_or_several_numbers(address: str, target: str) -> None:
    assert target_of(address) == target


@pytest.mark.parametrize("address", ["a:1,b:2", "127.0.0.1:1,[::1]:2"])
def test_several_names_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="several addresses"):
        target_of(address)


async def test_a_replica_that_is_leaving_gets_no_new_calls() -> None:
    tokens = Tokens(FakeClock())
    one, two = (RpcServer([], tokens.authenticator) for _ in range(2))
    ports = [await server.start("127.0.0.1:0") for server in (one, two)]
    async with open_channel(",".join(f"127.0.0.1:{port}" for port in ports)) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        await one.leave()
        seen = {
            (await stub.Check(health_pb2.HealthCheckRequest(), timeout=5, wait_for_ready=True)).status
            for _ in range(20)
        }
    for server in (one, two):
        await server.stop(grace_s=0)
    assert seen == {health_pb2.HealthCheckResponse.SERVING}
