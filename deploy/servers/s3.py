"""S3: versitygw over a folder, from Go's sources."""

from __future__ import annotations

import http.client
from collections.abc import Callable

from deploy.servers import fetch
from deploy.servers.engine import MIB, Server
from deploy.servers.folder import Folder

NAME = "s3"
VARIABLE = "REELGRAPH_TEST_S3_URL"
PORTS = {"s3": 27070}
PACKAGE, VERSION = "github.com/versity/versitygw/cmd/versitygw", "v1.8.0"
BUCKET = "reelgraph"


def install(folder: Folder, say: Callable[[str], None]) -> None:
    fetch.go(folder, "versitygw", PACKAGE, VERSION, say)


def prepare(folder: Folder) -> None:
    place = folder.of(NAME)
    # The bucket is a folder: made here, it is there from the first request on.
    (place / "data" / BUCKET).mkdir(parents=True, exist_ok=True)
    (place / "versions").mkdir(exist_ok=True)


def servers(folder: Folder) -> list[Server]:
    place, port = folder.of(NAME), folder.port("s3")
    gateway = [str(folder.root / "bin" / "versitygw"), "--port", f"127.0.0.1:{port}", "--health", "/health", "--quiet"]
    command = [*gateway, "posix", "--versioning-dir", str(place / "versions"), str(place / "data")]
    env = {
        "ROOT_ACCESS_KEY": folder.secret("s3-access"),
        "ROOT_SECRET_KEY": folder.secret("s3-secret"),
        "GOMEMLIMIT": "256MiB",
    }
    return [Server(NAME, command, place, lambda: _answers(port), memory=1536 * MIB, env=env)]


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def settle(folder: Folder) -> None:
    """The bucket is there from the start."""


def url(folder: Folder) -> str:
    access, secret = folder.secret("s3-access"), folder.secret("s3-secret")
    return f"s3://{access}:{secret}@127.0.0.1:{folder.port('s3')}/{BUCKET}?secure=false"
