"""The platform as a company runs it: every role a process of its own, several of each, over TCP with mutual TLS. Each
role has a certificate of its own, and is found by a name that means all its replicas."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx

from svc_kit.rpc.client import open_channel
from svc_kit.rpc.tls import Tls
from tests.support.certificates import Authority, Pair
from tests.support.dns import naming
from tests.support.ports import free_port

SERVICES = ("graph", "media", "rank", "feed")
ROLES = (*SERVICES, "workers", "gateway")
START_S, STOP_S, READY_S = 90.0, 30.0, 60.0
AT_ONCE = 2
SECRETS = {
    "REELGRAPH_SECRET": "a-secret-of-the-end-to-end-tests-0123456789",
    "REELGRAPH_SERVICE_TOKEN": "a-service-token-of-the-end-to-end-tests-01",
}


class NotStarted(RuntimeError):
    """A process did not come up; the message holds the end of its log."""


@dataclass(slots=True)
class Member:
    """One process of the cluster."""

    role: str
    number: int
    http_port: int
    grpc_port: int
    log: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    """Its own, beside those of all."""
    process: asyncio.subprocess.Process | None = None

    @property
    def name(self) -> str:
        """`graph-0`"""
        return f"{self.role}-{self.number}"

    @property
    def host(self) -> str:
        """The replicas of a role share a port, so that one name can mean them all: each has an address of its own."""
        return f"127.0.0.{self.number + 1}"

    @property
    def base(self) -> str:
        """Its HTTP origin."""
        return f"http://{self.host}:{self.http_port}"

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.returncode is None

    def tail(self, characters: int = 3000) -> str:
        """The end of its log."""
        return self.log.read_text()[-characters:] if self.log.exists() else ""

    async def start(self, environment: Mapping[str, str], data_dir: Path) -> None:
        """Start and wait for `ready`. Raises `NotStarted`."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "launcher.cli", "serve", self.role, "--data-dir", str(data_dir)),
                *("--host", self.host, "--http-port", str(self.http_port), "--grpc-port", str(self.grpc_port)),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**environment, **self.settings},
            )
        assert self.process.stdout is not None
        line = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                line = (await self.process.stdout.readline()).decode().strip()
        if not line.startswith("ready "):
            await self.kill()
            raise NotStarted(f"{self.name} did not start: {line!r}\n{self.tail()}")

    async def stop(self) -> int:
        """SIGTERM; the exit status. Raises TimeoutError when it has not stopped within 30 s."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_S):
            return await self.process.wait()

    async def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


@dataclass(slots=True)
class Cluster:
    """Running processes; as an `Instance` for the walk, its first gateway."""

    data_dir: Path
    environment: dict[str, str]
    """Settings of all; the certificate in them is an operator's."""
    members: list[Member]
    tls: Tls
    """An operator's, for calls from outside."""

    def of(self, role: str) -> list[Member]:
        """The processes of a role."""
        return [member for member in self.members if member.role == role]

    @property
    def url(self) -> str:
        """The GraphQL endpoint of the first gateway."""
        return f"{self.base}/graphql"

    @property
    def base(self) -> str:
        """The HTTP origin of the first gateway."""
        return self.of("gateway")[0].base

    def grpc_address(self, service: str) -> str:
        """Where a service answers, all replicas of it; known while the cluster runs."""
        return self.environment[_address_setting(service)]

    def channel(self, service: str) -> grpc.aio.Channel:
        """A channel to a service, with the operator's certificate."""
        return open_channel(self.grpc_address(service), self.tls)

    def log_tail(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"== {member.name}\n{member.tail(1500)}" for member in self.members)

    async def start(self, members: Sequence[Member] | None = None) -> None:
        """Start processes, a few at once. Raises `NotStarted` of the first that does not come up."""
        chosen = self.members if members is None else members
        # Each gives its engines five seconds to answer, which all together would not leave each other.
        turns = asyncio.Semaphore(AT_ONCE)

        async def start(member: Member) -> None:
            async with turns:
                await member.start(self.environment, self.data_dir)

        await asyncio.gather(*(start(member) for member in chosen))
        await self.ready(chosen)

    async def ready(self, members: Sequence[Member] | None = None) -> None:
        """Wait until every process says that it is ready. Raises `NotStarted` telling what is missing."""
        async with httpx.AsyncClient(timeout=5) as http:
            for member in self.members if members is None else members:
                answer = "no answer"
                try:
                    async with asyncio.timeout(READY_S):
                        while answer:
                            answer = await _not_ready(http, member)
                            await asyncio.sleep(0.1 if answer else 0)
                except TimeoutError:
                    raise NotStarted(f"{member.name} is not ready: {answer}\n{member.tail()}") from None

    async def stop(self) -> int:
        """SIGTERM to all; the greatest exit status."""
        return max(await asyncio.gather(*(member.stop() for member in self.members if member.alive)), default=0)

    async def kill(self) -> None:
        """SIGKILL to all."""
        await asyncio.gather(*(member.kill() for member in self.members))

    def reelgraph(self, *arguments: str) -> tuple[str, ...]:
        """A command line `reelgraph ...` on this cluster's data folder."""
        return (sys.executable, "-m", "launcher.cli", *arguments, "--data-dir", str(self.data_dir))

    async def run(self, *arguments: str) -> str:
        """Run `reelgraph ...` with this cluster's settings; what it printed. Raises RuntimeError when it fails."""
        process = await asyncio.create_subprocess_exec(
            *self.reelgraph(*arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self.environment,
        )
        printed = (await process.communicate())[0].decode()
        if process.returncode:
            raise RuntimeError(f"reelgraph {' '.join(arguments)} failed: {printed[-3000:]}")
        return printed


async def _not_ready(http: httpx.AsyncClient, member: Member) -> str:
    if not member.alive:
        return "the process has ended"
    try:
        answer = await http.get(f"{member.base}/readyz")
    except httpx.TransportError as error:
        return repr(error)
    return "" if answer.status_code == 200 and answer.json()["status"] == "ok" else answer.text


def layout(folder: Path, engines: Mapping[str, str], replicas: Mapping[str, int], **settings: str) -> Cluster:
    """A cluster that is not started: ports chosen, certificates made, settings written out. `engines`:
    `REELGRAPH_..._URL`."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder, "authority")
    members = [member for role in ROLES for member in _members(folder, role, replicas.get(role, 1), authority)]
    operator = authority.sign("operator", loopback=False)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REELGRAPH_")}
    environment |= {"PYTHONDONTWRITEBYTECODE": "", **SECRETS, **engines, **mutual_tls(authority, operator)}
    tls = Tls(operator.cert_file, operator.key_file, authority.ca_file)
    cluster = Cluster(folder / "data", environment, members, tls)
    media = cluster.of("media")[0].base
    environment |= {
        "REELGRAPH_PUBLIC_URL": cluster.base,
        "REELGRAPH_MEDIA_PUBLIC_URL": media,
        "REELGRAPH_GATEWAY_MEDIA_ORIGINS": media,
        **settings,
    }
    return cluster


def _members(folder: Path, role: str, replicas: int, authority: Authority) -> list[Member]:
    pair = authority.sign(role, name_of(role), loopback=False)
    grpc_port = free_port()
    return [
        Member(role, number, free_port(), grpc_port, folder / f"{role}-{number}.log", mutual_tls(authority, pair))
        for number in range(replicas)
    ]


def mutual_tls(authority: Authority, pair: Pair) -> dict[str, str]:
    """The settings of a process that proves itself by `pair` and trusts `authority` alone."""
    return {
        "REELGRAPH_TLS_CERT_FILE": pair.cert_file,
        "REELGRAPH_TLS_KEY_FILE": pair.key_file,
        "REELGRAPH_TLS_CA_FILE": authority.ca_file,
        "REELGRAPH_TLS_CLIENT_AUTH": "true",
    }


def name_of(role: str) -> str:
    """The name that means all replicas of a role."""
    return f"{role}.reelgraph.internal"


def _address_setting(service: str) -> str:
    return f"REELGRAPH_{service.upper()}_ADDRESS"


@asynccontextmanager
async def running(cluster: Cluster) -> AsyncIterator[Cluster]:
    """Migrate, start and wait until ready; killed at the end if the block did not stop it."""
    hosts = {name_of(role): [member.host for member in cluster.of(role)] for role in SERVICES}
    with naming(hosts) as names:
        for service in SERVICES:
            port = cluster.of(service)[0].grpc_port
            cluster.environment[_address_setting(service)] = names.url(name_of(service), port)
        try:
            await cluster.run("migrate")
            await cluster.start()
            yield cluster
        finally:
            await cluster.kill()
