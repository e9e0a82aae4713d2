"""A page of the feed through GraphQL: the next page of a live snapshot, 10 videos with author, counters and viewer
state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from bench.harness import cpu_s, demo_instance, line
from launcher.demo.client import ApiClient
from launcher.demo.world import PASSWORD

PAGE = """query ($after: String) { feed(first: 10, after: $after) { snapshotId stale pageInfo { endCursor hasNextPage
} edges {
  cursor reason { kind text } node { id caption durationMs likeCount commentCount shareCount viewCount viewerHasLiked
  playback { hlsUrl posterUrl } author { id username displayName viewerFollows } } } } }"""
REQUESTS, CALLERS, VIEWERS = 400, 8, 20


async def measure(pid: int, what: str, calls: list[Callable[[], Awaitable[object]]], callers: int) -> str:
    """Run all calls, `callers` at once; the row."""
    seconds: list[float] = []
    queue = iter(calls)

    async def work() -> None:
        for call in queue:
            began = time.perf_counter()
            await call()
            seconds.append(time.perf_counter() - began)

    before = cpu_s(pid)
    await asyncio.gather(*(work() for _ in range(callers)))
    return line(f"{what}, {callers} at once", seconds, cpu_s(pid) - before)


async def main() -> None:
    async with demo_instance() as running:
        pid = running.process.pid
        clients = []
        for number in range(VIEWERS):
            client = ApiClient(running.url)
            name = "ada_viewer" if number == 0 else None
            await (client.log_in(name, PASSWORD) if name else client.sign_up(f"bench_{number}_{pid}", PASSWORD))
            clients.append((client, (await client.query(PAGE))["feed"]["pageInfo"]["endCursor"]))

        def page(number: int) -> Callable[[], Awaitable[object]]:
            client, cursor = clients[number % VIEWERS]
            return lambda: client.query(PAGE, {"after": cursor})

        def trivial(number: int) -> Callable[[], Awaitable[object]]:
            return lambda: clients[number % VIEWERS][0].query("{ __typename }")

        for callers in (1, CALLERS):
            await measure(pid, "warm", [page(n) for n in range(VIEWERS * 2)], callers)
            print(await measure(pid, "feed page, snapshot hit", [page(n) for n in range(REQUESTS)], callers))
            print(await measure(pid, "{ __typename }", [trivial(n) for n in range(REQUESTS)], callers))
        for client, _ in clients:
            await client.http.aclose()


if __name__ == "__main__":
    asyncio.run(main())
