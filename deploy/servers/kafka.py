"""Kafka, from Maven: one process that is broker and controller, with passwords on every listener.

The second listener is for tests of faults: what a client finds through it is a proxy's address, so all of its
traffic goes through that proxy.
"""

from __future__ import annotations

import base64
import socket
import struct
import uuid
from collections.abc import Callable
from pathlib import Path

from deploy.servers import fetch, jvm, process
from deploy.servers.engine import Server
from deploy.servers.folder import Folder, write_private

NAME = "kafka"
VARIABLE = "REELGRAPH_TEST_KAFKA_URL"
PORTS = {"kafka": 29092, "kafka-controller": 29093, "kafka-behind-proxy": 29094, "kafka-proxy": 29095}
JARS = (
    "org.apache.kafka:kafka_2.13:4.3.1",
    "org.apache.kafka:kafka-tools:4.3.1",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",
)
HEAP_MIB = 192
LISTENERS = ("CLIENT", "PROXIED", "CONTROLLER")


def install(folder: Folder, say: Callable[[str], None]) -> None:
    jvm.install(17, 99, say)
    jvm.jars(folder, NAME, JARS, say)


def configuration(folder: Folder) -> dict[str, object]:
    password = folder.secret("kafka")
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    jaas = f'{login} username="reelgraph" password="{password}" user_reelgraph="{password}";'
    at = {name: f"127.0.0.1:{folder.port(name)}" for name in PORTS}
    single = {
        f"{topic}.{setting}": 1
        for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
        for setting in ("replication.factor", "min.isr")
        if (topic, setting) != ("offsets.topic", "min.isr")
    }
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{at['kafka-controller']}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "CLIENT",
        "listeners": f"CLIENT://{at['kafka']},PROXIED://{at['kafka-behind-proxy']},"
        f"CONTROLLER://{at['kafka-controller']}",
        "advertised.listeners": f"CLIENT://{at['kafka']},PROXIED://{at['kafka-proxy']}",
        "listener.security.protocol.map": ",".join(f"{name}:SASL_PLAINTEXT" for name in LISTENERS),
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
        **{f"listener.name.{name.lower()}.plain.sasl.jaas.config": jaas for name in LISTENERS},
        "log.dirs": folder.of(NAME) / "data",
        **single,
        "num.partitions": 12,
        "offsets.topic.num.partitions": 8,
        "transaction.state.log.num.partitions": 8,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "auto.create.topics.enable": "false",
        "log.cleaner.dedupe.buffer.size": 4194304,
        # A broker killed and started again would else wait nine seconds for its own lease to end.
        "broker.session.timeout.ms": 1500,
        "broker.heartbeat.interval.ms": 300,
        "log.segment.bytes": 64 << 20,
        "log.retention.bytes": 256 << 20,
    }


def prepare(folder: Folder) -> None:
    place = folder.of(NAME)
    properties = place / "server.properties"
    write_private(properties, "".join(f"{key}={value}\n" for key, value in configuration(folder).items()))
    if not (place / "data" / "meta.properties").exists():
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties), "--ignore-formatted"]
        fetch.run([*_java(place), *tool], within_s=60, env=process.environment(place), cwd=place)


def servers(folder: Folder) -> list[Server]:
    place, port = folder.of(NAME), folder.port("kafka")
    command = [*_java(place), "kafka.Kafka", str(place / "server.properties")]
    return [Server(NAME, command, place, lambda: _answers(port), within_s=60)]


def _java(place: Path) -> list[str]:
    java, _ = jvm.find(17)
    bounds = jvm.flags(place, heap_mib=HEAP_MIB, direct_mib=64, metaspace_mib=96, code_mib=48)
    return [java, *bounds, "-XX:TieredStopAtLevel=1", "-cp", f"{place / 'lib'}/*"]


def _answers(port: int) -> bool:
    """Whether it says which versions of its protocol it speaks, which it does once it has started."""
    request = struct.pack(">hhih9s", 18, 0, 1, 9, b"reelgraph")
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            return len(connection.recv(10)) == 10
    except OSError:
        return False


def settle(folder: Folder) -> None:
    """Topics are made by what uses them."""


def url(folder: Folder) -> str:
    return f"kafka://reelgraph:{folder.secret('kafka')}@127.0.0.1:{folder.port('kafka')}"
