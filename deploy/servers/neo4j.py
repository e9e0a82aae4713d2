"""Neo4j community, from Maven: the version that the newest Java here can run."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable

from deploy.servers import jvm
from deploy.servers.engine import Server
from deploy.servers.folder import Folder, write_private

NAME = "neo4j"
VARIABLE = "REELGRAPH_TEST_NEO4J_URL"
PORTS = {"neo4j": 27687}
ARTIFACTS = {"current": "org.neo4j:neo4j:2026.08.1", "long-term": "org.neo4j:neo4j:5.26.30"}
HEAP_MIB = 512
PAGE_CACHE_MIB = 128

_BOLT_HANDSHAKE = bytes.fromhex("6060b01700040405000004050000000400000003")


def _edition() -> tuple[str, str, str]:
    """Java, the artifact for it and that version's main class."""
    java, version = jvm.find(17)
    if version >= 25:
        return java, ARTIFACTS["current"], "org.neo4j.server.Neo4jCommunity"
    java, _ = jvm.find(17, 21)
    return java, ARTIFACTS["long-term"], "org.neo4j.server.CommunityEntryPoint"


def install(folder: Folder, say: Callable[[str], None]) -> None:
    jvm.install(17, 99, say)
    _, artifact, _ = _edition()
    jvm.jars(folder, NAME, [artifact], say)


def prepare(folder: Folder) -> None:
    _, artifact, _ = _edition()
    place, at = folder.of(NAME), f"127.0.0.1:{folder.port('neo4j')}"
    settings = {
        "server.bolt.listen_address": at,
        "server.bolt.advertised_address": at,
        "server.http.enabled": "false",
        "server.https.enabled": "false",
        "dbms.security.auth_enabled": "true",
        "dbms.usage_report.enabled": "false",
        "server.memory.pagecache.size": f"{PAGE_CACHE_MIB}m",
        "db.tx_log.rotation.retention_policy": "1 files",
        # Half a gigabyte of zeros otherwise, before the first transaction.
        "db.tx_log.preallocate": "false",
        # A clean stop would else take eleven seconds.
        "internal.server.bolt.thread_pool_shutdown_wait_time": "0s",
    }
    if artifact == ARTIFACTS["current"]:
        settings |= {"dbms.fleet_manager.enabled": "false", "server.fleet_discovery.enabled": "false"}
    (place / "conf").mkdir(exist_ok=True)
    write_private(place / "conf" / "neo4j.conf", "".join(f"{key}={value}\n" for key, value in settings.items()))
    if not (place / "data").exists():
        (place / "data" / "dbms").mkdir(parents=True)
        write_private(place / "data" / "dbms" / "auth.ini", _credential(folder.secret("neo4j")))


def servers(folder: Folder) -> list[Server]:
    java, artifact, main = _edition()
    place, port = folder.of(NAME), folder.port("neo4j")
    flags = [
        *jvm.flags(place, heap_mib=HEAP_MIB, direct_mib=128, metaspace_mib=224, code_mib=96),
        *(f"--add-opens=java.base/{each}=ALL-UNNAMED" for each in ("java.nio", "java.io", "sun.nio.ch")),
        "-Dio.netty.tryReflectionSetAccessible=true",
        "-Dlog4j2.disable.jmx=true",
    ]
    if artifact == ARTIFACTS["current"]:
        flags += ["--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"]
    home = [f"--home-dir={place}", f"--config-dir={place / 'conf'}"]
    command = [java, *flags, "-cp", f"{place / 'lib'}/*", main, *home]
    return [Server(NAME, command, place, ready=lambda: _answers(port), within_s=90)]


def _credential(password: str) -> str:
    """What `neo4j-admin dbms set-initial-password` writes, without starting a Java or showing the password to `ps`."""
    salt, iterations = os.urandom(32), 1024
    digest = hashlib.sha256(salt + password.encode()).digest()
    for _ in range(iterations - 1):
        digest = hashlib.sha256(digest).digest()
    return f"neo4j:SHA-256,{digest.hex()},{salt.hex()},{iterations}:\n"


def _answers(port: int) -> bool:
    """Bolt is up only when the databases are."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(_BOLT_HANDSHAKE)
            return connection.recv(4) not in (b"", b"\0\0\0\0")
    except OSError:
        return False


def settle(folder: Folder) -> None:
    """The password is there from the first start."""


def url(folder: Folder) -> str:
    return f"neo4j://neo4j:{folder.secret('neo4j')}@127.0.0.1:{folder.port('neo4j')}"
