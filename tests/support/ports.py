"""Ports of servers that a test kills and starts again."""

from __future__ import annotations

import random
import socket
from collections import deque

_DICE = random.SystemRandom()
_BELOW = 32768
"""Where Linux begins to take the near ends of connections from: of a server that is away, one of them gets the port."""
_GIVEN: deque[int] = deque(maxlen=500)
"""By this process, lately: of a dozen servers that are yet to start, two would get the same one every few runs."""


def free_port() -> int:
    """A port nobody listens on or was given lately, and that no connection will take while its server is away."""
    while True:
        port = _DICE.randrange(_BELOW - 2000, _BELOW)
        if port in _GIVEN:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _GIVEN.append(port)
        return port
