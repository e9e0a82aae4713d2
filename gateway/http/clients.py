"""What a request tells of its client: address and surroundings. Headers are hints; only a trusted proxy's are
believed where it matters."""

from __future__ import annotations

import re
from ipaddress import ip_address

from starlette.requests import HTTPConnection

from gateway.settings import Network
from reelgraph.common.v1.client_pb2 import ClientContext

_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8}){0,3}")
_REGION = re.compile(r"[A-Za-z]{2}")
_DEVICES = frozenset({"phone", "tablet", "desktop", "tv"})
MAX_CLIENT_ID_CHARS = 64
MAX_TIMEZONE_CHARS = 64


class ClientReader:
    """Reads the client of a connection."""

    def __init__(self, proxies: tuple[Network, ...], region_header: str) -> None:
        self._proxies = proxies
        self._region_header = region_header

    def address(self, connection: HTTPConnection) -> str:
        """The client's network address: the peer's, or behind trusted proxies the last one they did not add
        themselves. Empty when unknown."""
        peer = connection.client.host if connection.client else ""
        if not self._trusted(peer):
            return peer
        hops = [hop.strip() for hop in connection.headers.get("x-forwarded-for", "").split(",") if hop.strip()]
        for hop in reversed(hops):
            if not _is_address(hop):
                return peer
            if not self._trusted(hop):
                return hop
        return hops[0] if hops else peer

    def context(self, connection: HTTPConnection) -> ClientContext:
        """The surroundings for ranking."""
        headers = connection.headers
        device = headers.get("x-client-device", "").lower()
        region = ""
        if connection.client and self._trusted(connection.client.host):
            region = headers.get(self._region_header, "")
        return ClientContext(
            client_id=headers.get("x-client-id", "")[:MAX_CLIENT_ID_CHARS],
            device=device if device in _DEVICES else "",
            timezone=headers.get("x-client-timezone", "")[:MAX_TIMEZONE_CHARS],
            language=_first_language(headers.get("accept-language", "")),
            region=region.upper() if _REGION.fullmatch(region) else "",
        )

    def _trusted(self, host: str) -> bool:
        if not self._proxies or not _is_address(host):
            return False
        address = ip_address(host)
        return any(address in network for network in self._proxies if network.version == address.version)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _first_language(header: str) -> str:
    first = header.split(",")[0].partition(";")[0].strip()
    return first if _LANGUAGE.fullmatch(first) else ""
