"""Settings of the gateway, from `REELGRAPH_GATEWAY_*`."""

from __future__ import annotations

from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

Network = IPv4Network | IPv6Network


class GatewaySettings(BaseSettings):
    """Limits, each with its unit. Lists are separated by commas."""

    model_config = SettingsConfigDict(env_prefix="REELGRAPH_GATEWAY_", extra="ignore")

    allowed_origins: str = ""
    """Origins of pages that may call: `https://app.example.org`. The public URL's own always may, in development every
    loopback origin too."""
    trusted_proxies: str = ""
    """Networks (`10.0.0.0/8`) whose X-Forwarded-For and region header are believed."""
    region_header: str = "x-client-region"
    """Where a trusted proxy puts the client's ISO 3166-1 region."""
    introspection: bool | None = None
    """Whether the schema may be asked for; None: in development only."""
    suggestions: bool | None = None
    """Whether errors suggest names ("did you mean"); None: in development only."""

    max_body_bytes: int = 1024 * 1024
    max_tokens: int = 2000
    max_depth: int = 15
    max_aliases: int = 50
    max_root_fields: int = 30
    max_directives: int = 50
    max_cost: int = 10_000
    """See `gateway.limits.cost`."""
    max_parallel_rpcs: int = 32
    """Of one request."""
    request_timeout_s: float = 15.0
    anonymous_requests_per_s: float = 200.0
    """An address; logged-in requests are not counted."""
    anonymous_burst: int = 2000

    max_connections: int = 10_000
    """WebSockets and event streams of this process."""
    max_connections_per_address: int = 2_000
    """Of them, those of one client's address."""
    max_socket_operations: int = 50
    socket_queue_messages: int = 256
    """A consumer that is this far behind is disconnected."""
    connection_init_timeout_s: float = 10.0
    ping_interval_s: float = 15.0
    """Between server pings and event-stream heartbeats; no pong within two of them closes the socket."""
    session_recheck_s: float = 30.0
    """How long a revocation that no stream told of can be missed by an open socket."""

    explorer_dist: Path | None = None
    """Folder of the built explorer; None: the packaged one."""
    media_origins: str = ""
    """Origins of media bytes, where they have one of their own."""

    @cached_property
    def origins(self) -> frozenset[str]:
        """The allowed origins."""
        return frozenset(origin.rstrip("/") for origin in _items(self.allowed_origins))

    @cached_property
    def proxies(self) -> tuple[Network, ...]:
        """The trusted networks; raises ValueError naming a bad one."""
        return tuple(ip_network(item) for item in _items(self.trusted_proxies))

    @cached_property
    def media(self) -> tuple[str, ...]:
        """The media origins."""
        return tuple(_items(self.media_origins))


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]
