"""TLS to Cassandra: by whose authorities a node is trusted. A node here is a TLS server that listens to the driver's
first words: to whom it says nothing, it has not proved itself."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from svc_kit.authorities import system_authorities
from svc_kit.backends import EngineUnusable
from svc_kit.cassandra.address import parse
from svc_kit.cassandra.session import connect
from tests.support.certificates import Authority, Pair

LONGEST_S = 30.0


class Node:
    """Hangs up on everybody, and keeps what it was told before."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.heard: list[bytes] = []

    async def refusal(self, query: str = "") -> str:
        """Why a session with it can't be had."""
        url = f"cassandra+ssl://user:password@127.0.0.1:{self._port}/reelgraph{query}"
        async with asyncio.timeout(LONGEST_S):
            with pytest.raises(EngineUnusable) as refused:
                await connect(parse(url))
        return str(refused.value)

    @property
    def trusted(self) -> bool:
        """Whether anybody spoke CQL to it: a frame of a request begins with the protocol's version, 3 to 5."""
        return any(frame[:1] in (b"\x03", b"\x04", b"\x05") for frame in self.heard)


@asynccontextmanager
async def node(pair: Pair) -> AsyncIterator[Node]:
    """A node with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert_file, pair.key_file)

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            found.heard.append(await reader.read(64))
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0, ssl=context)
    async with server:
        found = Node(server.sockets[0].getsockname()[1])
        yield found


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "theirs")


def joined(path: Path, *authorities: Authority) -> Path:
    path.write_text("".join(Path(authority.ca_file).read_text() for authority in authorities))
    return path


async def test_without_a_file_the_authorities_of_the_system_are_trusted(
    ours: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ours.ca_file)
    async with node(ours.sign("node")) as server:
        assert "no node can be reached" in await server.refusal()
        assert server.trusted


async def test_a_node_that_no_authority_of_the_system_has_signed_is_told_nothing(ours: Authority) -> None:
    async with node(ours.sign("node")) as server:
        assert "not valid by the system's authorities" in await server.refusal()
        assert not server.trusted


async def test_a_given_file_alone_is_trusted_every_certificate_in_it(
    ours: Authority, theirs: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = joined(tmp_path / "both.pem", theirs, ours)
    monkeypatch.setenv("SSL_CERT_FILE", ours.ca_file)
    async with node(ours.sign("node")) as server:
        assert "not valid by ca_file's authorities" in await server.refusal(f"?ca_file={theirs.ca_file}")
        assert not server.trusted
        await server.refusal(f"?ca_file={both}")
        assert server.trusted


async def test_a_certificate_for_another_host_is_refused_unless_the_chain_is_enough(ours: Authority) -> None:
    async with node(ours.sign("node", "node.example.org", loopback=False)) as server:
        assert "is for another host" in await server.refusal(f"?ca_file={ours.ca_file}")
        assert not server.trusted
        await server.refusal(f"?ca_file={ours.ca_file}&verify=chain")
        assert server.trusted


async def test_the_right_address_in_a_certificate_of_a_foreign_authority_is_not_enough(
    ours: Authority, theirs: Authority
) -> None:
    async with node(theirs.sign("node")) as server:
        for verify in ("identity", "chain"):
            assert "not valid by" in await server.refusal(f"?ca_file={ours.ca_file}&verify={verify}")
        assert not server.trusted


def test_a_folder_of_authorities_will_do_and_none_at_all_is_an_error(
    ours: Authority, theirs: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "certs"
    folder.mkdir()
    for number, authority in enumerate((ours, theirs)):
        (folder / f"0000000{number}.0").symlink_to(authority.ca_file)
        (folder / f"name{number}.pem").symlink_to(authority.ca_file)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    assert system_authorities().count("BEGIN CERTIFICATE") == 2
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match="no certificates"):
        system_authorities()
