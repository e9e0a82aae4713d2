"""Places for sockets and event streams: so many in all, so many an address, none while draining."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from gateway.connections import Connections, TooMany


def _nothing() -> Callable[[], None]:
    return lambda: None


def test_one_address_can_not_take_every_place() -> None:
    connections = Connections(limit=3, limit_per_address=2)
    with ExitStack() as open_:
        first = open_.enter_context(ExitStack())
        first.enter_context(connections.entered("websocket", "10.0.0.1", _nothing()))
        open_.enter_context(connections.entered("sse", "10.0.0.1", _nothing()))
        with pytest.raises(TooMany), connections.entered("sse", "10.0.0.1", _nothing()):
            pass
        with connections.entered("sse", "10.0.0.2", _nothing()):
            pass
        first.close()
        open_.enter_context(connections.entered("sse", "10.0.0.1", _nothing()))


def test_the_limit_of_the_process_holds_for_all_addresses_together() -> None:
    connections = Connections(limit=2, limit_per_address=2)
    with (
        connections.entered("websocket", "10.0.0.1", _nothing()),
        connections.entered("websocket", "10.0.0.2", _nothing()),
        pytest.raises(TooMany),
        connections.entered("websocket", "10.0.0.3", _nothing()),
    ):
        pass


async def test_while_draining_none_are_taken_and_all_are_asked_to_leave() -> None:
    connections, asked = Connections(limit=2, limit_per_address=2), []
    with connections.entered("websocket", "10.0.0.1", lambda: asked.append(True)):
        await connections.drain(0)
        assert asked == [True]
        with pytest.raises(TooMany), connections.entered("websocket", "10.0.0.2", _nothing()):
            pass
