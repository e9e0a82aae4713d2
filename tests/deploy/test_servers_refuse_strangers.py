"""Every server of `make servers` wants its password and listens on this machine's own address alone."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit

import aiobotocore.session
import asyncmy
import asyncmy.errors
import asyncpg
import botocore.exceptions
import neo4j
import pytest
import redis.asyncio
from kafka.errors import SaslAuthenticationFailedError
from tritonclient.grpc import aio as triton
from tritonclient.utils import InferenceServerException

from deploy.servers import cql, process, runner
from deploy.servers.catalogue import ENGINES
from deploy.servers.folder import Folder, default_root
from tests.support.engines import server_url, servers

LISTENING = "0A"


async def of_postgres(host: str, port: int) -> None:
    await asyncpg.connect(host=host, port=port, user="reelgraph", password="wrong", database="reelgraph", timeout=5)


async def of_mysql(host: str, port: int) -> None:
    await asyncmy.connect(host=host, port=port, user="root", password="", connect_timeout=5)


async def of_neo4j(host: str, port: int) -> None:
    async with neo4j.AsyncGraphDatabase.driver(f"bolt://{host}:{port}", auth=("neo4j", "neo4j")) as driver:
        await driver.verify_connectivity()


async def of_redis(host: str, port: int) -> None:
    async with redis.asyncio.Redis(host=host, port=port) as client:
        await client.ping()


async def of_cassandra(host: str, port: int) -> None:
    await asyncio.to_thread(cql.execute, port, "cassandra", "cassandra")


async def of_kafka(host: str, port: int) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    # By hand: kafka-python takes what a broker says to a wrong password for a broken connection, and tries again.
    for kind, version, body in ((17, 1, b"\0\x05PLAIN"), (36, 0, struct.pack(">i", 16) + b"\0reelgraph\0wrong")):
        request = struct.pack(">hhih", kind, version, 1, -1) + body
        writer.write(struct.pack(">i", len(request)) + request)
        answer = await reader.readexactly(struct.unpack(">i", await reader.readexactly(4))[0])
    writer.close()
    _, code, length = struct.unpack(">ihh", answer[:8])
    if code:
        raise SaslAuthenticationFailedError(answer[8 : 8 + length].decode())


async def of_s3(host: str, port: int) -> None:
    keys = {"aws_access_key_id": "reelgraph", "aws_secret_access_key": "wrong", "region_name": "us-east-1"}
    async with aiobotocore.session.get_session().create_client(
        "s3", endpoint_url=f"http://{host}:{port}", **keys
    ) as client:
        await client.list_buckets()


async def of_triton(host: str, port: int) -> None:
    client = triton.InferenceServerClient(f"{host}:{port}")
    try:
        await client.get_model_repository_index()
    finally:
        await client.close()


STRANGERS: Mapping[str, tuple[Callable[[str, int], Awaitable[None]], type[Exception], str]] = {
    "postgres": (of_postgres, asyncpg.InvalidPasswordError, "password authentication failed"),
    "mysql": (of_mysql, asyncmy.errors.OperationalError, "Access denied|not allowed to connect"),
    "neo4j": (of_neo4j, neo4j.exceptions.AuthError, "unauthorized"),
    "redis": (of_redis, redis.asyncio.AuthenticationError, "already authenticated|Authentication required"),
    "redis-cluster": (of_redis, redis.asyncio.AuthenticationError, "already authenticated|Authentication required"),
    "cassandra": (of_cassandra, cql.Refused, "cassandra"),
    "kafka": (of_kafka, SaslAuthenticationFailedError, "Invalid username or password"),
    "s3": (of_s3, botocore.exceptions.ClientError, "AccessKeyId|access key"),
    "triton": (of_triton, InferenceServerException, "restricted"),
}
"""Engine -> what a stranger does with no password, a wrong one or the product's default; how that must end."""


@pytest.mark.parametrize("engine", [*servers(*STRANGERS)])
async def test_a_stranger_is_refused(engine: str) -> None:
    parts = urlsplit(server_url(engine).partition(",")[0])
    visit, refusal, words = STRANGERS[engine]
    assert parts.hostname
    with pytest.raises(refusal, match=words):
        await visit(parts.hostname, parts.port or 0)


@pytest.mark.parametrize("engine", [*servers(*STRANGERS)])
def test_it_listens_on_this_machine_alone(engine: str) -> None:
    server_url(engine)
    pids = [pid for server in runner.known(Folder(default_root()), ENGINES[engine]) if (pid := process.running(server))]
    if not pids:
        pytest.skip("not started by make servers here")
    listening = [at for pid in pids for at in addresses(pid)]
    assert listening
    assert all(at.is_loopback for at in listening), listening


def addresses(pid: int) -> list[IPv4Address | IPv6Address]:
    """Where a process listens."""
    own = {Path(fd).readlink().name for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
    found: list[IPv4Address | IPv6Address] = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and f"socket:[{fields[9]}]" in own:
                found.append(address(fields[1].partition(":")[0]))
    return found


def address(text: str) -> IPv4Address | IPv6Address:
    """From the kernel's form: words of four bytes in the machine's order."""
    words = struct.unpack(f">{len(text) // 8}I", bytes.fromhex(text))
    found = ip_address(struct.pack(f"={len(words)}I", *words))
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
