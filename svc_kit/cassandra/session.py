"""Sessions: connecting, prepared statements, requests at once, and the driver's errors as ours."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import acsylla
from acsylla.errors import (
    CassErrorLibNoHostsAvailable,
    CassErrorLibUnableToSetKeyspace,
    CassErrorServerBadCredentials,
    CassErrorServerProtocolError,
    CassErrorSslIdentityMismatch,
    CassErrorSslInvalidPeerCert,
    CassException,
)

from svc_kit.authorities import system_authorities
from svc_kit.backends import EngineUnusable
from svc_kit.cassandra.address import Address
from svc_kit.cassandra.rows import BadPageState, Page, Query, unreachable
from svc_kit.errors import AppError
from svc_kit.telemetry import log

CONNECT_S = 3.0
MIGRATE_S = 30.0
RECONNECT_MS = 1000
HEARTBEAT_S = 5
SILENT_S = 15
"""A connection that says nothing for so long is given up."""
GRACE_S = 0.1

_log = log(__name__)


class MissingKeyspace(EngineUnusable):
    """The server can be used, but `migrate` has not run."""


async def connect(address: Address, *, keyspace: bool = True, timeout_s: float = 0.0) -> Session:
    """A session of a keyspace (or of none). Raises `EngineUnusable` with the reason."""
    try:
        cluster = acsylla.create_cluster(
            list(address.hosts),
            port=address.port,
            username=address.username or None,
            password=address.password or None,
            connect_timeout=CONNECT_S,
            request_timeout=timeout_s or address.timeout_s,
            log_level="disabled",
            consistency=address.consistency,
            load_balance_dc_aware=address.datacenter or None,
            exponential_reconnect_base_delay_ms=RECONNECT_MS // 4,
            exponential_reconnect_max_delay_ms=RECONNECT_MS,
            speculative_execution_policy=acsylla.SpeculativeExecutionPolicy(address.speculative_ms, 1)
            if address.speculative_ms
            else None,
            heartbeat_interval_sec=HEARTBEAT_S,
            idle_timeout_sec=SILENT_S,
            application_name="reelgraph",
            **_tls(address),
        )
        return Session(await _opened(cluster.create_session(keyspace=address.keyspace if keyspace else None)), address)
    except CassErrorServerBadCredentials:
        raise EngineUnusable("wrong user name or password") from None
    except CassErrorLibUnableToSetKeyspace:
        raise MissingKeyspace(f"there is no keyspace {address.keyspace}: run `reelgraph migrate`") from None
    except CassErrorLibNoHostsAvailable as error:
        if address.datacenter and "datacenter" in str(error):
            raise EngineUnusable(f"no node is in the data centre {address.datacenter}") from None
        raise EngineUnusable("no node can be reached") from None
    except CassErrorSslInvalidPeerCert:
        whose = "ca_file's" if address.ca_file else "the system's"
        raise EngineUnusable(f"the node's certificate is not valid by {whose} authorities") from None
    except CassErrorSslIdentityMismatch:
        raise EngineUnusable("the node's certificate is for another host: see verify=chain") from None
    except CassException as error:
        raise EngineUnusable(f"can't be connected to ({type(error).__name__})") from None


# What nobody waits for any more, until it has connected or failed.
_connecting: set[Coroutine[Any, Any, Any]] = set()


async def _opened(connecting: Coroutine[Any, Any, Any]) -> Any:
    """The driver's session, once it is connected.

    The driver locks up, and the process with it, when a session is dropped while it connects. So this is no task,
    which a cancellation or the end of the loop would drop: it goes on by itself and is closed when it is too late."""
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    _connecting.add(connecting)

    def step(_: Any = None) -> None:
        try:
            waited_for = connecting.send(None)
        except StopIteration as end:
            _settle(done, end.value)
        except BaseException as error:
            _settle(done, error)
        else:
            waited_for._asyncio_future_blocking = False
            waited_for.add_done_callback(step)
            return
        _connecting.discard(connecting)

    step()
    return await done


def _settle(done: asyncio.Future[Any], outcome: Any) -> None:
    if not done.done():
        if isinstance(outcome, BaseException):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)
    elif not isinstance(outcome, BaseException):
        late = asyncio.ensure_future(outcome.close())
        _closing.add(late)
        late.add_done_callback(_closing.discard)


_closing: set[asyncio.Future[Any]] = set()


class _Verify(Enum):
    """Of a node's certificate, in bits of the C driver's `CassSslVerifyFlags`. acsylla's own PEER_IDENTITY has the
    value of its PEER_CERT and looks at no address."""

    CHAIN = 0b01
    IDENTITY = 0b11


def _tls(address: Address) -> dict[str, Any]:
    if not address.tls:
        return {}
    try:
        files = {
            # The driver trusts nobody by itself.
            "ssl_trusted_cert": Path(address.ca_file).read_text() if address.ca_file else system_authorities(),
            "ssl_cert": Path(address.cert_file).read_text() if address.cert_file else None,
            "ssl_private_key": Path(address.key_file).read_text() if address.key_file else None,
        }
    except OSError as error:
        raise EngineUnusable(f"{error.filename} can't be read") from None
    return {"ssl_enabled": True, "ssl_verify_flags": _Verify[address.verify.upper()], **files}


class Session:
    """See `Rows`. A statement is prepared when it is first used; the driver prepares it again on a node that has
    forgotten it. Every statement must be idempotent: the driver may send it to two nodes.

    `timeout_s` of one request, and how many of a kind are `at_once` under way."""

    def __init__(self, session: Any, address: Address) -> None:
        self._session = session
        self._prepared: dict[str, Any] = {}
        self._preparing = asyncio.Lock()
        # Readers and writers have places of their own: a bulk writer holds its places to its end.
        self.at_once = max(1, address.in_flight // 2)
        self._write_slots = asyncio.Semaphore(self.at_once)
        self._read_slots = asyncio.Semaphore(self.at_once)
        self.timeout_s = address.timeout_s + GRACE_S

    @property
    def version(self) -> tuple[int, ...]:
        """Of the server."""
        return tuple(self._session.get_metadata().get_version())

    async def select(self, query: str, values: Sequence[Any], *, size: int = 0, state: bytes = b"") -> Page:
        prepared = self._prepared.get(query) or await self._statement(query)
        bound = prepared.bind(values, page_size=size or None, page_state=state or None)
        bound.set_is_idempotent(True)
        try:
            async with self._read_slots:
                result = await self._session.execute(bound)
        except CassException as error:
            if state and isinstance(error, CassErrorServerProtocolError):
                raise BadPageState from error
            raise _ours(error) from error
        rest = result.page_state() if result.has_more_pages() else b""
        return Page([row.as_tuple() for row in result], rest)

    async def select_each(self, queries: Iterable[Query], *, size: int = 0) -> list[Page]:
        wanted = list(queries)
        if len(wanted) == 1:
            return [await self.select(*wanted[0], size=size)]
        if len(wanted) <= self.at_once:
            return await asyncio.gather(*(self.select(query, values, size=size) for query, values in wanted))
        pages: list[Page | None] = [None] * len(wanted)

        async def read(numbered: Iterator[tuple[int, Query]]) -> None:
            for place, (query, values) in numbered:
                pages[place] = await self.select(query, values, size=size)

        numbered = enumerate(wanted)
        await _together(read(numbered) for _ in range(self.at_once))
        return [page for page in pages if page is not None]

    async def write(self, statements: Iterable[Query]) -> None:
        left = iter(statements)
        ahead = list(itertools.islice(left, self.at_once))
        if not ahead:
            return
        shared = itertools.chain(ahead, left)
        began = [math.inf] * len(ahead)
        try:
            async with asyncio.timeout(None) as limit:
                with self._watched(began, limit):
                    await _together(self._write(shared, began, place) for place in range(len(ahead)))
        except TimeoutError as error:
            raise _ours(error) from error

    async def _write(self, statements: Iterable[Query], began: list[float], place: int) -> None:
        prepared, execute, now = self._prepared, self._session.execute, time.monotonic
        async with self._write_slots:
            for query, values in statements:
                bound = (prepared.get(query) or await self._statement(query)).bind(values)
                bound.set_is_idempotent(True)
                began[place] = now()
                try:
                    await execute(bound)
                except CassException as error:
                    raise _ours(error) from error
            began[place] = math.inf

    @contextmanager
    def _watched(self, began: list[float], limit: asyncio.Timeout) -> Iterator[None]:
        """Fires `limit` when one request takes too long: a timer for each of thousands would cost as much as they."""
        loop = asyncio.get_running_loop()

        timers: list[asyncio.TimerHandle] = []

        def look() -> None:
            if min(began) < time.monotonic() - self.timeout_s:
                limit.reschedule(loop.time())
            else:
                timers[:] = [loop.call_later(self.timeout_s / 4, look)]

        timers.append(loop.call_later(self.timeout_s, look))
        try:
            yield
        finally:
            timers[0].cancel()

    async def define(self, statement: str) -> None:
        try:
            await self._session.query(statement, timeout=MIGRATE_S)
        except CassException as error:
            raise _ours(error) from error

    async def close(self) -> None:
        await self._session.close()

    async def _statement(self, query: str) -> Any:
        known = self._prepared.get(query)
        if known is None:
            async with self._preparing:
                known = self._prepared.get(query)
                if known is None:
                    try:
                        async with asyncio.timeout(self.timeout_s):
                            known = await self._session.create_prepared(query)
                    except (CassException, TimeoutError) as error:
                        raise _ours(error) from error
                    self._prepared[query] = known
        return known


async def _together(bodies: Iterable[Any]) -> None:
    """Run all; the first error stops the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for body in bodies:
                group.create_task(body)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _ours(error: CassException | TimeoutError) -> AppError:
    _log.warning("cassandra refused a request", kind=type(error).__name__, error=str(error))
    return unreachable()
