"""A name that means several replicas: calls go round robin over them, over mutual TLS, and follow what it means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from launcher.compose import BadComposition, check_roles
from reelgraph.graph.v1 import follows_pb2, follows_pb2_grpc
from svc_kit.rpc.client import open_channel
from svc_kit.rpc.server import RpcServer, Servicer
from svc_kit.rpc.tls import Tls
from svc_kit.settings import PlatformSettings
from tests.support.certificates import Authority
from tests.support.clock import FakeClock
from tests.support.dns import naming
from tests.support.platform import Tokens
from tests.support.ports import free_port

NAME = "graph.reelgraph.internal"
HOSTS = ("127.0.0.1", "127.0.0.2")
DESCRIPTOR = follows_pb2.DESCRIPTOR.services_by_name["FollowService"]
MOVED_S = 30.0


class Replica(follows_pb2_grpc.FollowServiceServicer):
    """Counts what it answers."""

    def __init__(self) -> None:
        self.answered = 0

    async def BatchGetFollowCounts(self, request: Any, context: Any) -> follows_pb2.BatchGetFollowCountsResponse:
        self.answered += 1
        return follows_pb2.BatchGetFollowCountsResponse()


@dataclass(frozen=True, slots=True)
class Mutual:
    """Both sides of mutual TLS; the servers' certificate is for `NAME` alone."""

    server: Tls
    client: Tls


@pytest.fixture
def mutual(tmp_path: Path) -> Mutual:
    ours = Authority(tmp_path, "ours")
    graph, gateway = ours.sign("graph", NAME, loopback=False), ours.sign("gateway")
    return Mutual(
        Tls(graph.cert_file, graph.key_file, ours.ca_file, client_auth=True),
        Tls(gateway.cert_file, gateway.key_file, ours.ca_file),
    )


@asynccontextmanager
async def replicas(hosts: Sequence[str], port: int, tls: Tls) -> AsyncIterator[list[Replica]]:
    """A replica on each host, all on one port."""
    started = [Replica() for _ in hosts]  # type: ignore[abstract]
    authenticator = Tokens(FakeClock()).authenticator
    register = follows_pb2_grpc.add_FollowServiceServicer_to_server
    servers = [RpcServer([Servicer(DESCRIPTOR, replica, register)], authenticator) for replica in started]
    for server, host in zip(servers, hosts, strict=True):
        await server.start(f"{host}:{port}", tls.server_credentials())
    try:
        yield started
    finally:
        for server in servers:
            await server.stop(grace_s=0)


async def call(stub: Any) -> None:
    await stub.BatchGetFollowCounts(follows_pb2.BatchGetFollowCountsRequest(user_ids=[1]), timeout=5)


async def both_used(stub: Any, replicas: Sequence[Replica]) -> None:
    """Call until each was used: a connection to the second may be made later than that to the first."""
    async with asyncio.timeout(MOVED_S):
        while not all(replica.answered for replica in replicas):
            await call(stub)
            await asyncio.sleep(0.01)


async def test_calls_to_a_name_go_round_robin_over_all_that_it_means(mutual: Mutual) -> None:
    port = free_port()
    async with replicas(HOSTS, port, mutual.server) as both:
        with naming({NAME: HOSTS}) as names:
            async with open_channel(names.url(NAME, port), mutual.client) as channel:
                stub: Any = follows_pb2_grpc.FollowServiceStub(channel)
                await both_used(stub, both)
                before = [replica.answered for replica in both]
                for _ in range(20):
                    await call(stub)
                assert [now.answered - then for now, then in zip(both, before, strict=True)] == [10, 10]


async def test_a_name_that_means_another_replica_now_is_followed_when_the_old_one_is_gone(mutual: Mutual) -> None:
    port = free_port()
    with naming({NAME: HOSTS[:1]}) as names:
        async with open_channel(names.url(NAME, port), mutual.client) as channel:
            stub: Any = follows_pb2_grpc.FollowServiceStub(channel)
            async with replicas(HOSTS[1:], port, mutual.server) as [new]:
                async with replicas(HOSTS[:1], port, mutual.server) as [old]:
                    await call(stub)
                    assert (old.answered, new.answered) == (1, 0)
                    names.addresses[NAME] = HOSTS[1:]
                request = follows_pb2.BatchGetFollowCountsRequest(user_ids=[1])
                await stub.BatchGetFollowCounts(request, timeout=MOVED_S, wait_for_ready=True)
                assert new.answered == 1


async def test_calls_to_several_addresses_go_round_robin_where_certificates_bear_the_name_of_all(
    mutual: Mutual,
) -> None:
    port = free_port()
    client = replace(mutual.client, server_name=NAME)
    async with replicas(HOSTS, port, mutual.server) as both:
        async with open_channel(",".join(f"{host}:{port}" for host in HOSTS), client) as channel:
            await both_used(follows_pb2_grpc.FollowServiceStub(channel), both)


def test_several_addresses_over_tls_without_a_name_for_all_are_refused_at_start() -> None:
    settings = PlatformSettings(
        cache_url="redis://h",
        bus_url="kafka://h",
        tls_ca_file="ca.pem",
        graph_address="127.0.0.1:1,127.0.0.1:2",
        media_address="media:1",
        rank_address="rank:1",
        feed_address="feed:1",
    )
    with pytest.raises(BadComposition, match=r"^REELGRAPH_GRAPH_ADDRESS=.*REELGRAPH_TLS_SERVER_NAME must"):
        check_roles(settings, {"gateway"})
    check_roles(settings.model_copy(update={"tls_server_name": NAME}), {"gateway"})


def test_an_address_that_can_not_be_called_is_refused_at_start_by_its_setting() -> None:
    settings = PlatformSettings(cache_url="redis://h", bus_url="kafka://h", graph_address="a:1,b:2")
    with pytest.raises(BadComposition, match=r"^REELGRAPH_GRAPH_ADDRESS=a:1,b:2: several addresses"):
        check_roles(settings, {"gateway"})
