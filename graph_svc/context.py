"""What every domain of this service is wired from, and what it hands back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from graph_svc.settings import GraphSettings
from svc_kit.caller import Caller
from svc_kit.db import Database
from svc_kit.periodic import Prune
from svc_kit.rpc.server import Servicer
from svc_kit.service import Job, Platform
from svc_kit.uow import UnitOfWork


@dataclass(frozen=True, slots=True)
class GraphContext:
    """Dependencies of a domain's `build_<domain>` in `<domain>/wiring.py`."""

    platform: Platform
    db: Database
    uow: UnitOfWork
    settings: GraphSettings
    stack: AsyncExitStack
    """Closes what a domain opens, when the service ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A wired domain."""

    servicers: Sequence[Servicer] = ()
    workers: Sequence[Job] = ()
    prunes: Sequence[Prune] = ()
    """What is forgotten after a while."""
    rebuilds: Mapping[str, Callable[[], Awaitable[int]]] = field(default_factory=dict)
    checks: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engagement(Domain):
    """The wired engagement domain, and what moderation needs of it."""

    remove_comment: Callable[[Caller, int], Coroutine[Any, Any, None]]
    """Delete a comment for a moderator, whoever wrote it; a deleted one stays so. Raises NOT_FOUND on `subject_id`
    for an unknown one."""
