"""What a service is built from, and what it is made of. `<service>/build.py` turns the one into the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import grpc
from starlette.routing import BaseRoute

from svc_kit.bus.port import Bus
from svc_kit.cache import Cache
from svc_kit.clock import Clock
from svc_kit.ids import IdGenerator
from svc_kit.rpc.client import Peer
from svc_kit.rpc.server import Servicer
from svc_kit.settings import PlatformSettings


@dataclass(frozen=True, slots=True)
class Channels:
    """One channel to each service."""

    graph: grpc.aio.Channel
    media: grpc.aio.Channel
    rank: grpc.aio.Channel
    feed: grpc.aio.Channel


@dataclass(frozen=True, slots=True)
class Platform:
    """What every service is given. Made by `launcher`, and by tests."""

    settings: PlatformSettings
    clock: Clock
    ids: IdGenerator
    bus: Bus
    cache: Cache
    peer: Peer
    channels: Channels
    leases_ids: bool = False
    """Other processes issue ids too: each service leases a worker number in its database."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something that runs beside the servers until it is cancelled, which must be safe at any await.

    Raising is a defect of the job: the launcher logs it and starts it again, later each time.
    """

    name: str
    """Unique within the process; names its logs and metrics."""
    run: Callable[[], Awaitable[None]]
    local: bool = False
    """Runs beside its own service's servers (it fills their memory), not in the role `workers`."""


@dataclass(frozen=True, slots=True)
class Service:
    """A built service."""

    name: str
    servicers: Sequence[Servicer]
    workers: Sequence[Job] = ()
    http_routes: Sequence[BaseRoute] = ()
    """Routes of its HTTP side; only media_svc has any."""
    rebuilds: Mapping[str, Callable[[], Awaitable[int]]] = field(default_factory=dict)
    """By projection name: remake it from truth and archive; answers how many entries it has. Safe while serving."""
    checks: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """By dependency name: raise, with a message for an operator, when it can't be used. For readiness and `doctor`."""
