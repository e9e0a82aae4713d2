"""What resolvers are given: who asks, and the ways to answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import strawberry
from graphql import DocumentNode

from reelgraph.common.v1.client_pb2 import ClientContext
from svc_kit.caller import ANONYMOUS, Caller
from svc_kit.rpc.client import AS_SERVICE, Peer

if TYPE_CHECKING:
    from gateway.clients import Clients
    from gateway.loaders import Loaders

DEFAULT_PARALLEL_RPCS = 32


@dataclass(slots=True)
class Context:
    """One operation's surroundings. `loaders` is replaced before each mutation field and each event of a subscription:
    what was read before may have changed."""

    clients: Clients
    peer: Peer
    public_url: str
    """Where clients reach the HTTP side, without a slash at the end."""
    make_loaders: Callable[[Context], Loaders]
    session_ended: Callable[[int], None]
    """To be told of a session that this operation has ended."""
    caller: Caller = ANONYMOUS
    client: ClientContext | None = None
    client_address: str = ""
    """The client's network address; empty when unknown."""
    parallel_rpcs: int = DEFAULT_PARALLEL_RPCS
    document: DocumentNode | None = None
    """The parsed document of the operation."""
    selected: frozenset[str] = frozenset()
    """All fields that the operation selects at any level, as `Type.field`: what need not be asked for is not."""
    loaders: Loaders = field(init=False)
    _slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.loaders = self.make_loaders(self)
        self._slots = asyncio.Semaphore(self.parallel_rpcs)

    @property
    def with_playback(self) -> bool:
        """URLs must be signed."""
        return "Video.playback" in self.selected

    async def rpc(self, method: Any, request: Any) -> Any:
        """Call a unary method for the viewer; raises `AppError`."""
        async with self._slots:
            return await self.peer.call(method, request, self.caller)

    async def rpc_as_service(self, method: Any, request: Any) -> Any:
        """Call a unary method as the gateway itself; raises `AppError`."""
        async with self._slots:
            return await self.peer.call(method, request, AS_SERVICE)

    def stream(self, method: Any, request: Any) -> AsyncIterator[Any]:
        """Call a server-streaming method for the viewer; raises `AppError`."""
        return self.peer.stream(method, request, self.caller)

    def fresh_loaders(self) -> None:
        """Forget what was read."""
        self.loaders = self.make_loaders(self)


Info = strawberry.Info[Context, None]
