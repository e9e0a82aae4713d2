"""What resolvers are given: who asks, and the ways to answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import strawberry

from reelgraph.common.v1.client_pb2 import ClientContext
from svc_kit.caller import ANONYMOUS, Caller
from svc_kit.rpc.client import AS_SERVICE, Peer

if TYPE_CHECKING:
    from gateway.clients import Clients
    from gateway.loaders import Loaders


@dataclass(slots=True)
class Context:
    """One operation's surroundings. `loaders` is replaced before each mutation field and each event of a subscription:
    what was read before may have changed."""

    clients: Clients
    peer: Peer
    public_url: str
    """Where clients reach the HTTP side, without a slash at the end."""
    loaders: Loaders
    caller: Caller = ANONYMOUS
    client: ClientContext | None = None
    client_address: str = ""
    """The client's network address; empty when unknown."""
    with_playback: bool = False
    """The operation selects `playback` somewhere, so that URLs must be signed."""
    with_reasons: bool = False
    """The operation selects `reason` somewhere, so that the videos which reasons name are read with the page."""

    async def rpc(self, method: Any, request: Any) -> Any:
        """Call a unary method for the viewer; raises `AppError`."""
        return await self.peer.call(method, request, self.caller)

    async def rpc_as_service(self, method: Any, request: Any) -> Any:
        """Call a unary method as the gateway itself; raises `AppError`."""
        return await self.peer.call(method, request, AS_SERVICE)

    def stream(self, method: Any, request: Any) -> AsyncIterator[Any]:
        """Call a server-streaming method for the viewer; raises `AppError`."""
        return self.peer.stream(method, request, self.caller)

    def fresh_loaders(self) -> Loaders:
        """Forget what was read; answers the new loaders."""
        self.loaders = self.loaders.fresh(self)
        return self.loaders


Info = strawberry.Info[Context, None]
