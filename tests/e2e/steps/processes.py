"""What holds where every role is a process of its own on real servers: mutual TLS, round robin, `doctor`, restart."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from reelgraph.graph.v1 import follows_pb2, follows_pb2_grpc
from svc_kit.rpc.client import open_channel
from svc_kit.rpc.tls import Tls
from tests.e2e.cluster import SERVICES, Cluster, Member
from tests.e2e.steps.platform import READ
from tests.e2e.world import World, eventually
from tests.support.certificates import Authority
from tests.support.ports import free_port

WITHOUT_CERTIFICATE = {
    "REELGRAPH_TLS_CERT_FILE": "",
    "REELGRAPH_TLS_KEY_FILE": "",
    "REELGRAPH_TLS_CLIENT_AUTH": "false",
}


async def only_certified(world: World) -> None:
    """no service answers who shows no certificate, or one of another authority, or speaks plain text"""
    cluster = _cluster(world)
    foreign = Authority(world.folder, "another-authority").sign("stranger")
    strangers = {
        "no certificate": Tls(ca_file=cluster.tls.ca_file),
        "another authority's": replace(cluster.tls, cert_file=foreign.cert_file, key_file=foreign.key_file),
        "plain text": None,
    }
    for service in SERVICES:
        assert await _answers(cluster, service, cluster.tls), service
        for why, tls in strangers.items():
            assert not await _answers(cluster, service, tls), f"{service} answered: {why}"


async def _answers(cluster: Cluster, service: str, tls: Tls | None) -> bool:
    async with open_channel(cluster.grpc_address(service), tls) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE, error
            return False
        return True


async def uncertified_process(world: World) -> None:
    """a gateway that has no certificate reaches no service, and says so"""
    cluster = _cluster(world)
    log = world.folder / "uncertified.log"
    stranger = Member("gateway", 8, free_port(), free_port(), log, WITHOUT_CERTIFICATE)
    await stranger.start(cluster.environment, cluster.data_dir)
    try:
        async with httpx.AsyncClient(timeout=10) as http:
            answer = await http.get(f"{stranger.base}/readyz")
        assert answer.status_code == 503, answer.text
        assert {"graph", "media", "feed"} <= set(answer.json()["missing"]), answer.text
    finally:
        await stranger.kill()


async def round_robin(world: World) -> None:
    """calls to a service go to all of its replicas"""
    cluster = _cluster(world)
    replicas = cluster.of("graph")
    assert len(replicas) > 1
    before = [await _served(member) for member in replicas]

    async def all_served() -> bool:
        async with cluster.channel("graph") as channel:
            stub: Any = follows_pb2_grpc.FollowServiceStub(channel)
            for _ in range(10):
                await stub.BatchGetFollowCounts(follows_pb2.BatchGetFollowCountsRequest(user_ids=[1]), timeout=5)
        now = [await _served(member) for member in replicas]
        return all(then < count for then, count in zip(before, now, strict=True))

    assert all(before), f"the walk's calls: {before}"
    await eventually(all_served, True)


async def _served(member: Member) -> int:
    """How often a graph replica was asked for the numbers of followers."""
    async with httpx.AsyncClient(timeout=5) as http:
        text = (await http.get(f"{member.base}/metrics")).text
    counts = re.findall(r"^reelgraph_rpc_seconds_count\{.*BatchGetFollowCounts.*\} (\S+)$", text, re.MULTILINE)
    return int(sum(map(float, counts)))


async def doctor(world: World) -> None:
    """`reelgraph doctor` finds nothing wrong"""
    assert "FAIL" not in await _cluster(world).run("doctor")


async def restart_all(world: World) -> None:
    """SIGTERM stops every process; state survives the restart of all"""
    bob, cat = await world.person("bob"), world.videos["cat"]
    before = await bob.query(READ, {"id": cat})
    cluster = _cluster(world)
    assert await cluster.stop() == 0
    await cluster.start()
    assert await bob.query(READ, {"id": cat}) == before


def _cluster(world: World) -> Cluster:
    assert isinstance(world.instance, Cluster)
    return world.instance


STEPS = (only_certified, uncertified_process, round_robin, doctor, restart_all)
