"""Toxiproxy, from Go's sources: what the tests of faults cut and slow connections with. It knows no password."""

from __future__ import annotations

import http.client
from collections.abc import Callable

from deploy.servers import fetch
from deploy.servers.engine import MIB, Server
from deploy.servers.folder import Folder

NAME = "toxiproxy"
VARIABLE = "REELGRAPH_TEST_TOXIPROXY_URL"
PORTS = {"toxiproxy": 28474}
PACKAGE, VERSION = "github.com/Shopify/toxiproxy/v2/cmd/server", "v2.12.0"


def install(folder: Folder, say: Callable[[str], None]) -> None:
    fetch.go(folder, "toxiproxy", PACKAGE, VERSION, say)


def prepare(folder: Folder) -> None:
    """It has no configuration."""


def servers(folder: Folder) -> list[Server]:
    port = folder.port("toxiproxy")
    command = [str(folder.root / "bin" / "toxiproxy"), "-host", "127.0.0.1", "-port", str(port)]
    env = {"GOMEMLIMIT": "128MiB", "LOG_LEVEL": "warn"}
    return [Server(NAME, command, folder.of(NAME), lambda: _answers(port), memory=1024 * MIB, env=env)]


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/version")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def settle(folder: Folder) -> None:
    """Proxies are made by the tests."""


def url(folder: Folder) -> str:
    return f"http://127.0.0.1:{folder.port('toxiproxy')}"
