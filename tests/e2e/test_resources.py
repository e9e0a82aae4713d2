"""What is counted is what happened."""

from __future__ import annotations

import asyncio

from tests.e2e.resources import Connects, highest_rate


def test_the_highest_rate_is_of_the_worst_window_not_of_the_whole() -> None:
    calm = [(float(second), second) for second in range(31)]
    storm = [(31.0 + second, 30 + 100 * (second + 1)) for second in range(5)]
    assert highest_rate(calm, 5.0) == 1.0
    assert highest_rate([*calm, *storm], 5.0) == 100.0
    # A burst within one second counts as over the whole window.
    assert highest_rate([*calm, (31.0, 530), (40.0, 530)], 5.0) == 100.8


def test_less_than_a_window_counts_as_one() -> None:
    assert highest_rate([(0.0, 0), (2.0, 100)], 5.0) == 50.0
    assert highest_rate([(0.0, 7)], 5.0) == highest_rate([], 5.0) == 0.0


async def test_connections_of_this_machine_are_counted() -> None:
    connects = Connects()
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, connects.watched():
        await asyncio.sleep(0.01)
        for _ in range(20):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
    assert connects.most_per_s() > 0
