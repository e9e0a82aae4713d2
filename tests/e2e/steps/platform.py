"""What operators and explorers use: GraphiQL, health, gRPC, restart."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import Any, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from playwright.async_api import expect

from reelgraph.graph.v1 import accounts_pb2, accounts_pb2_grpc, follows_pb2, follows_pb2_grpc
from tests.e2e.browser import CHROMIUM, page
from tests.e2e.instance import Instance, start
from tests.e2e.world import World

READ = "query ($id: ID!) { video(id: $id) { likeCount commentCount shareCount state viewerHasLiked } }"
SERVICES = {
    "reelgraph.graph.v1": (
        "AccountService",
        "FollowService",
        "EngagementService",
        "NotificationService",
        "ModerationService",
    ),
    "reelgraph.media.v1": ("UploadService", "VideoService"),
    "reelgraph.rank.v1": ("RetrievalService", "RankingService", "FeatureService"),
    "reelgraph.feed.v1": ("FeedService", "WatchService", "TrendingService", "SearchService"),
}


async def health(world: World) -> None:
    """healthz, readyz, metrics; request ids come back"""
    client = await world.client()
    for path in ("healthz", "readyz", "metrics"):
        assert (await client.http.get(f"{world.instance.base}/{path}")).status_code == 200, path
    answer = await client.http.post(
        world.url, json={"query": "{ __typename }"}, headers={"x-request-id": "a-request-id-of-mine"}
    )
    assert answer.headers["x-request-id"] == "a-request-id-of-mine"


async def explorer(world: World) -> None:
    """GraphiQL works in a real browser with no network, under a strict CSP"""
    client = await world.client()
    html = await client.http.get(world.url, headers={"accept": "text/html"})
    assert html.status_code == 200 and "script-src 'self'" in html.headers["content-security-policy"]
    if not shutil.which(CHROMIUM):
        print(f"      (no {CHROMIUM} here: not opened in a browser)")
        return
    foreign: list[str] = []
    async with page() as tab:
        tab.on(
            "request",
            lambda r: foreign.append(r.url) if not r.url.startswith((world.instance.base, "data:", "blob:")) else None,
        )
        await tab.goto(world.url)
        # Before the editor is there and the schema was read, the button has nothing to send.
        await expect(tab.get_by_role("button", name="Re-fetch GraphQL schema")).to_be_enabled(timeout=20_000)
        await expect(tab.locator(".graphiql-query-editor")).to_contain_text("feed", timeout=20_000)
        await tab.locator(".graphiql-execute-button").click()
        await tab.locator(".result-window :text('snapshotId')").first.wait_for(timeout=20_000)
    assert not foreign, foreign


async def over_grpc(world: World) -> None:
    """health and reflection on every service; access is enforced; a viewer's token works"""
    for package, services in SERVICES.items():
        async with world.instance.channel(package.split(".")[1]) as channel:
            checks: Any = health_pb2_grpc.HealthStub(channel)
            names = {f"{package}.{name}" for name in services}
            for name in names:
                answer = await checks.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING, name
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            reflection: Any = reflection_pb2_grpc.ServerReflectionStub(cast(Any, channel))
            async for answer in reflection.ServerReflectionInfo(iter([request])):
                assert names <= {service.name for service in answer.list_services_response.service}
    async with world.instance.channel("graph") as channel:
        follows = follows_pb2_grpc.FollowServiceStub(channel)
        for metadata in ((), (("authorization", "Bearer forged"),)):
            try:
                await follows.GetViewerGraph(follows_pb2.GetViewerGraphRequest(), metadata=metadata, timeout=5)
                raise AssertionError("a call without a viewer was answered")
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        bob = await world.person("bob")
        token = (("authorization", f"Bearer {bob.token}"),)
        graph = await follows.GetViewerGraph(follows_pb2.GetViewerGraphRequest(), metadata=token, timeout=5)
        assert len(graph.followee_ids) == 1
        accounts = accounts_pb2_grpc.AccountServiceStub(channel)
        try:
            await accounts.ListAccounts(accounts_pb2.ListAccountsRequest(), metadata=token, timeout=5)
            raise AssertionError("a viewer called a service's method")
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED


async def internal_service(world: World) -> None:
    """the example client of the stubs distribution runs"""
    command = (sys.executable, "examples/grpc_client.py", world.instance.grpc_address("graph"), "alice", "bob")
    tls = world.instance.tls
    files = ("--tls", tls.ca_file, tls.cert_file, tls.key_file) if tls.ca_file else ()
    done = subprocess.run((*command, *files), check=True, capture_output=True, text=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["alice", "bob"]


async def restart(world: World) -> None:
    """SIGINT stops within 20 s; state survives the restart; a backup made while serving can be restored"""
    bob, cat = await world.person("bob"), world.videos["cat"]
    before = await bob.query(READ, {"id": cat})
    assert isinstance(world.instance, Instance)
    target = world.folder / "backup"
    command = ("reelgraph", "backup", str(target), "--data-dir", str(world.instance.data_dir))
    executable = shutil.which("reelgraph") or ".venv/bin/reelgraph"
    subprocess.run((executable, *command[1:]), check=True, capture_output=True)
    assert await world.instance.stop() == 0
    for data_dir in (world.instance.data_dir, world.folder / "restored"):
        if not data_dir.exists():
            subprocess.run(
                (executable, "restore", str(target), "--data-dir", str(data_dir)), check=True, capture_output=True
            )
        running = await start(data_dir, grpc_port=world.instance.grpc_port)
        try:
            bob.url = running.url
            assert await bob.query(READ, {"id": cat}) == before
        finally:
            assert await running.stop() == 0


STEPS = (health, explorer, over_grpc, internal_service)
EMBEDDED_STEPS = (restart,)
