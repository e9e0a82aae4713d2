"""A comment, from the call of the mutation to the other viewer's socket; and the mutation alone in the same run."""

from __future__ import annotations

import asyncio
import time

from bench.harness import cpu_s, demo_instance, line
from launcher.demo.client import ApiClient
from launcher.demo.world import PASSWORD
from tests.e2e.sockets import open_socket

COMMENTS = "subscription ($id: ID!) { commentAdded(videoId: $id) { id text } }"
ROUNDS = 200


async def main() -> None:
    async with demo_instance() as running, ApiClient(running.url) as writer, ApiClient(running.url) as reader:
        await writer.log_in("ada_viewer", PASSWORD)
        await reader.log_in("chef_remy", PASSWORD)
        video = (await writer.query("{ trending(first: 1) { edges { node { id } } } }"))["trending"]["edges"][0][
            "node"
        ]["id"]
        answered, delivered = [], []
        async with open_socket(running.url, reader.token) as socket:
            operation = await socket.subscribe(COMMENTS, {"id": video})
            await asyncio.sleep(0.5)
            before = cpu_s(running.process.pid)
            for number in range(ROUNDS):
                began = time.perf_counter()
                waiting = asyncio.ensure_future(operation.next())
                await writer.mutate("addComment", "comment { id }", videoId=video, text=f"no. {number}")
                answered.append(time.perf_counter() - began)
                await waiting
                delivered.append(time.perf_counter() - began)
            cpu = cpu_s(running.process.pid) - before
        print(line("addComment answered", answered, cpu))
        print(line("addComment on the other's socket", delivered, cpu))


if __name__ == "__main__":
    asyncio.run(main())
