"""Ports of servers that a test kills and starts again."""

from __future__ import annotations

import random
import socket

_DICE = random.SystemRandom()
_BELOW = 32768
"""Where Linux begins to take the near ends of connections from: of a server that is away, one of them gets the port."""


def free_port() -> int:
    """A port nobody listens on, and that no connection will take while its server is away."""
    while True:
        port = _DICE.randrange(_BELOW - 2000, _BELOW)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
