"""Who is calling: proved once by the interceptor, then passed on to commands and queries."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from svc_kit.errors import unauthenticated


class Role(StrEnum):
    """What a viewer's token says about them."""

    USER = "user"
    MODERATOR = "moderator"


@dataclass(frozen=True, slots=True)
class Caller:
    """The proved identity of one call. `user_id` 0: nobody is logged in."""

    user_id: int = 0
    session_id: int = 0
    role: Role = Role.USER
    is_service: bool = False
    """The peer is a service; with `user_id` it acts for that viewer."""
    request_id: str = ""
    method: str = ""
    """Full gRPC method, such as `/reelgraph.graph.v1.FollowService/FollowUser`."""
    idempotency_key: str = ""
    input_digest: bytes = b""
    """SHA-256 of the request without its idempotency key; empty without a key."""
    token: str = ""
    """The viewer's access token as it came, to be passed on; empty when a service acts for the viewer."""

    def viewer(self) -> int:
        """The viewer's id; raises UNAUTHENTICATED when nobody is logged in."""
        if not self.user_id:
            raise unauthenticated()
        return self.user_id


ANONYMOUS = Caller()

_current: ContextVar[Caller] = ContextVar("caller", default=ANONYMOUS)


def current_caller() -> Caller:
    """The caller of the RPC being served; anonymous outside of one."""
    return _current.get()


def set_caller(caller: Caller) -> None:
    """Set by the server interceptor, in the RPC's own context."""
    _current.set(caller)
