"""One session a process and keyspace, shared by the domains that use it and closed by the last."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from svc_kit.breaker import Breaker
from svc_kit.cassandra.address import parse
from svc_kit.cassandra.rows import GuardedRows, Rows
from svc_kit.cassandra.session import Session, connect
from svc_kit.clock import SystemClock

FAILURES = 3
WINDOW_S = 10.0
OPEN_S = 2.0


@dataclass(slots=True)
class _Shared:
    session: Session
    rows: Rows
    users: int = 0


class _Loop:
    """Sessions of one event loop, to which the driver ties them."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.sessions: dict[str, _Shared] = {}


_loops: MutableMapping[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Lease:
    """A use of a session."""

    url: str
    rows: Rows

    async def check(self) -> None:
        """Raises UNAVAILABLE unless the server answers."""
        await self.rows.select("SELECT release_version FROM system.local", ())

    async def close(self) -> None:
        """The last use closes the session."""
        loop = _loops[asyncio.get_running_loop()]
        async with loop.lock:
            shared = loop.sessions[self.url]
            shared.users -= 1
            if not shared.users:
                del loop.sessions[self.url]
                await shared.session.close()


async def lease(url: str) -> Lease:
    """Use the session of this URL, which is opened when nobody has. Raises `EngineUnusable`."""
    loop = _loops.setdefault(asyncio.get_running_loop(), _Loop())
    async with loop.lock:
        shared = loop.sessions.get(url)
        if shared is None:
            session = await connect(parse(url))
            breaker = Breaker(
                "The store of histories", SystemClock(), failures=FAILURES, window_s=WINDOW_S, open_s=OPEN_S
            )
            rows = GuardedRows(session, breaker, timeout_s=session.timeout_s, at_once=session.at_once)
            shared = loop.sessions[url] = _Shared(session, rows)
        shared.users += 1
        return Lease(url, shared.rows)
