"""Cassandra, from Maven: one node that answers for the whole ring. Its jar brings no configuration: it is made here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from deploy.servers import cql, jvm
from deploy.servers.engine import Server
from deploy.servers.folder import Folder, write_private

NAME = "cassandra"
VARIABLE = "REELGRAPH_TEST_CASSANDRA_URL"
PORTS = {"cassandra": 29042, "cassandra-storage": 27000}
JARS = ("org.apache.cassandra:cassandra-all:5.0.9",)
HEAP_MIB = 256

_EXPORTS = (
    *("java.base/jdk.internal.misc", "java.base/jdk.internal.ref", "java.base/sun.nio.ch"),
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    *("java.rmi/sun.rmi.registry", "java.rmi/sun.rmi.server", "java.sql/java.sql", "jdk.unsupported/sun.misc"),
)
_OPENS = (
    *(f"java.base/java.{name}" for name in ("io", "lang", "lang.module", "lang.reflect", "math", "net", "nio", "util")),
    *("java.base/java.util.concurrent", "java.base/java.util.concurrent.atomic"),
    *(f"java.base/jdk.internal.{name}" for name in ("loader", "math", "module", "ref", "reflect", "util.jar")),
    *("java.base/sun.nio.ch", "jdk.management/com.sun.management.internal"),
)
_LOGBACK = """<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level %date{ISO8601} %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
"""


def install(folder: Folder, say: Callable[[str], None]) -> None:
    jvm.install(11, 17, say)
    jvm.jars(folder, NAME, JARS, say)


def configuration(folder: Folder, place: Path) -> dict[str, object]:
    """cassandra.yaml, which JSON is."""
    data = place / "data"
    seeds = {"seeds": f"127.0.0.1:{folder.port('cassandra-storage')}"}
    return {
        "cluster_name": "reelgraph",
        "num_tokens": 1,
        "initial_token": "0",
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "endpoint_snitch": "SimpleSnitch",
        "seed_provider": [{"class_name": "org.apache.cassandra.locator.SimpleSeedProvider", "parameters": [seeds]}],
        "authenticator": "PasswordAuthenticator",
        "authorizer": "CassandraAuthorizer",
        "role_manager": "CassandraRoleManager",
        "listen_address": "127.0.0.1",
        "rpc_address": "127.0.0.1",
        "storage_port": folder.port("cassandra-storage"),
        "native_transport_port": folder.port("cassandra"),
        "data_file_directories": [str(data / "data")],
        "commitlog_directory": str(data / "commitlog"),
        "saved_caches_directory": str(data / "saved_caches"),
        "hints_directory": str(data / "hints"),
        # Acknowledged means on disk: the product's default loses ten seconds of a single node on kill -9.
        "commitlog_sync": "batch",
        "commitlog_segment_size": "16MiB",
        "commitlog_total_space": "256MiB",
        "memtable_heap_space": "96MiB",
        "memtable_offheap_space": "64MiB",
        "concurrent_compactors": 1,
        "concurrent_reads": 16,
        "concurrent_writes": 16,
        "hinted_handoff_enabled": False,
        "auto_snapshot": False,
        "storage_compatibility_mode": "NONE",
        "read_request_timeout": "10s",
        "range_request_timeout": "10s",
        "write_request_timeout": "10s",
        "truncate_request_timeout": "30s",
        "request_timeout": "10s",
    }


def prepare(folder: Folder) -> None:
    place = folder.of(NAME)
    conf = place / "conf"
    conf.mkdir(exist_ok=True)
    write_private(conf / "cassandra.yaml", json.dumps(configuration(folder, place), indent=1))
    write_private(conf / "logback.xml", _LOGBACK)


def servers(folder: Folder) -> list[Server]:
    java, _ = jvm.find(11, 17)
    place, port = folder.of(NAME), folder.port("cassandra")
    conf = place / "conf"
    defined = {
        "cassandra.config": f"file://{conf / 'cassandra.yaml'}",
        "cassandra.storagedir": place / "data",
        "cassandra-foreground": "yes",
        "cassandra.skip_wait_for_gossip_to_settle": 0,
        "cassandra.ring_delay_ms": 0,
        "cassandra.superuser_setup_delay_ms": 0,
        "cassandra.available_processors": 2,
        "logback.configurationFile": conf / "logback.xml",
    }
    command = [
        java,
        *jvm.flags(place, heap_mib=HEAP_MIB, direct_mib=256, metaspace_mib=128, code_mib=96),
        *(f"--add-exports={each}=ALL-UNNAMED" for each in _EXPORTS),
        *(f"--add-opens={each}=ALL-UNNAMED" for each in _OPENS),
        f"-javaagent:{place / 'lib' / 'jamm-0.4.0.jar'}",
        *(f"-D{key}={value}" for key, value in defined.items()),
        *("-cp", f"{conf}:{place / 'lib'}/*", "org.apache.cassandra.service.CassandraDaemon"),
    ]
    return [Server(NAME, command, place, ready=lambda: cql.asks_for_password(port), within_s=120)]


def settle(folder: Folder) -> None:
    """A superuser of our own and a keyspace; then the one that everybody knows is shut out."""
    port, password = folder.port("cassandra"), folder.secret("cassandra")
    try:
        cql.execute(port, "reelgraph", password)
    except cql.Refused:
        role = f"WITH PASSWORD = '{password}' AND SUPERUSER = true AND LOGIN = true"
        # The role of the first start appears a moment after the port does.
        cql.execute(port, "cassandra", "cassandra", f"CREATE ROLE IF NOT EXISTS reelgraph {role}", patience_s=20)
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    cql.execute(
        port,
        "reelgraph",
        password,
        "ALTER ROLE cassandra WITH SUPERUSER = false AND LOGIN = false",
        f"CREATE KEYSPACE IF NOT EXISTS reelgraph WITH replication = {replication}",
    )


def url(folder: Folder) -> str:
    return f"cassandra://reelgraph:{folder.secret('cassandra')}@127.0.0.1:{folder.port('cassandra')}/reelgraph"
