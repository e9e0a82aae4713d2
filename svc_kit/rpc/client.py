"""The client side: identity, request id and deadline passed on with every call; peers' errors mapped back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import Any, Protocol, TypeVar

import grpc

from svc_kit.caller import Caller
from svc_kit.errors import AppError, Reason
from svc_kit.rpc.server import REQUEST_ID_KEY, VIEWER_KEY, remaining_s
from svc_kit.rpc.status import decode
from svc_kit.rpc.tls import Tls
from svc_kit.telemetry import current_request_id

DEFAULT_TIMEOUT_S = 5.0

AS_SERVICE = Caller(is_service=True)
"""Call as the service itself, for no viewer."""

_SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "0.5s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.1},
        "loadBalancingConfig": [{"round_robin": {}}],
        # A replica that says it is leaving gets no new calls while it still answers the old ones.
        "healthCheckConfig": {"serviceName": ""},
    }
)

Req = TypeVar("Req", contravariant=True)
Res = TypeVar("Res", covariant=True)
Q = TypeVar("Q")
S = TypeVar("S")


class Unary(Protocol[Req, Res]):
    """A unary method of a stub."""

    def __call__(self, request: Req, /, *, timeout: float | None = None, metadata: Any = None) -> Any: ...


def target_of(address: str) -> str:
    """gRPC's name for an address: `unix:/path`, `host:port`, or several `ip:port` with commas between. Raises
    ValueError for several that are not IP addresses: one name that resolves to all of them says the same."""
    if "," not in address:
        return address
    hosts = [part.strip() for part in address.split(",")]
    versions = {_ip_version(host.rpartition(":")[0].strip("[]")) for host in hosts}
    if len(versions) != 1 or 0 in versions:
        raise ValueError(f"{address}: several addresses must all be IPv4 or all IPv6; or give one name for all")
    return f"ipv{versions.pop()}:{','.join(hosts)}"


def _ip_version(host: str) -> int:
    try:
        return ip_address(host).version
    except ValueError:
        return 0


def open_channel(address: str, tls: Tls | None = None) -> grpc.aio.Channel:
    """A channel to an address (see `target_of`), round robin over all it means, for those that say they serve. Retries
    are gRPC's own, with a budget. Nothing on a Unix socket is encrypted."""
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.enable_retries", 1),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # A name's new replicas are found soon.
        ("grpc.dns_min_time_between_resolutions_ms", 5_000),
        ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ]
    credentials = None if tls is None or address.startswith("unix:") else tls.channel_credentials()
    if credentials is None:
        return grpc.aio.insecure_channel(target_of(address), options=options)
    if tls is not None and tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return grpc.aio.secure_channel(target_of(address), credentials, options=options)


class Peer:
    """Calls other services. A viewer's token is passed on; without one, the service acts for the viewer by its own
    token."""

    def __init__(self, service_token: str) -> None:
        self._service_token = service_token

    def metadata(self, caller: Caller) -> list[tuple[str, str]]:
        """The metadata of a call made for `caller`."""
        pairs = [(REQUEST_ID_KEY, caller.request_id or current_request_id())]
        if caller.token and not caller.is_service:
            pairs.append(("authorization", f"Bearer {caller.token}"))
        elif caller.user_id or caller.is_service:
            pairs.append(("authorization", f"Bearer {self._service_token}"))
            if caller.user_id:
                pairs.append((VIEWER_KEY, str(caller.user_id)))
        return pairs

    async def call(self, method: Any, request: Any, caller: Caller, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
        """Call a unary method for `caller`, within `timeout_s` and what is left of the deadline being served; raises
        `AppError`."""
        left = remaining_s()
        timeout = timeout_s if left is None else min(timeout_s, left)
        if timeout <= 0:
            raise AppError(Reason.DEADLINE_EXCEEDED, "It took too long.")
        try:
            return await method(request, timeout=timeout, metadata=self.metadata(caller))
        except grpc.aio.AioRpcError as error:
            raise decode(error) from error

    async def stream(self, method: Any, request: Any, caller: Caller) -> AsyncIterator[Any]:
        """Call a server-streaming method for `caller`; raises `AppError`. Closing the iterator cancels the call."""
        call = method(request, metadata=self.metadata(caller))
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            raise decode(error) from error
        finally:
            call.cancel()
