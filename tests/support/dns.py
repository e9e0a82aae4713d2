"""A name server in tests, for names that mean several addresses, and other ones later."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

_A, _IN = 1, 1
_NO_SUCH_NAME = 3
_TTL_S = 1


@dataclass(frozen=True, slots=True)
class Names:
    """A running name server; what it answers is read from `addresses` anew for each question."""

    port: int
    addresses: MutableMapping[str, Sequence[str]]
    """IPv4 addresses of each name."""

    def url(self, name: str, port: int) -> str:
        """gRPC's address of `name`, asked of this server."""
        return f"dns://127.0.0.1:{self.port}/{name}:{port}"


@contextmanager
def naming(addresses: Mapping[str, Sequence[str]]) -> Iterator[Names]:
    """Answer for these names on loopback (UDP), on a thread of its own, for the length of the block."""
    known = dict(addresses)

    class Question(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            packet, socket = self.request
            socket.sendto(_answer(packet, known), self.client_address)

    with socketserver.UDPServer(("127.0.0.1", 0), Question) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield Names(server.server_address[1], known)
        finally:
            server.shutdown()
            thread.join()


def _answer(packet: bytes, known: Mapping[str, Sequence[str]]) -> bytes:
    """RFC 1035, as far as one question for addresses needs it; of IPv6 addresses there are none."""
    labels, at = [], 12
    while length := packet[at]:
        labels.append(packet[at + 1 : at + 1 + length].decode())
        at += 1 + length
    kind, _ = struct.unpack_from(">HH", packet, at + 1)
    question = packet[12 : at + 5]
    addresses = known.get(".".join(labels).lower())
    found = addresses if addresses and kind == _A else ()
    # A response, authoritative, with recursion, and the code.
    flags = 0x8580 | (_NO_SUCH_NAME if addresses is None else 0)
    head = packet[:2] + struct.pack(">HHHHH", flags, 1, len(found), 0, 0)
    # 0xC00C: the name of the question.
    records = (struct.pack(">HHHIH", 0xC00C, _A, _IN, _TTL_S, 4) + IPv4Address(address).packed for address in found)
    return head + question + b"".join(records)
