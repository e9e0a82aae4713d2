"""Who a request belongs to, whether their session still stands, and what is open for it.

A socket or event stream belongs to its session: it outlives the access token and ends when the session is revoked.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from gateway.clients import Clients
from reelgraph.graph.v1 import accounts_pb2
from svc_kit.auth import TokenVerifier
from svc_kit.cache import Cache, CacheError
from svc_kit.caller import ANONYMOUS, Caller
from svc_kit.clock import Clock
from svc_kit.errors import AppError, unauthenticated
from svc_kit.rpc.client import AS_SERVICE, Peer
from svc_kit.sessions import SessionCache
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

STATES_BATCH = 1000
KEPT_ENDED = 20_000
KEPT_STANDING = 50_000
TRUSTED_S = 600.0
"""How long a session is taken to stand while truth is away, as long as an access token lasts."""
FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 10.0
_log = log(__name__)


class Sessions:
    """Checks access tokens and keeps the open connections of each session."""

    def __init__(self, verifier: TokenVerifier, clients: Clients, peer: Peer, cache: Cache, clock: Clock) -> None:
        self._verifier = verifier
        self._clients = clients
        self._peer = peer
        self._cache = SessionCache(cache)
        self._clock = clock
        self._open: defaultdict[int, set[Callable[[], None]]] = defaultdict(set)
        self._ended: OrderedDict[int, None] = OrderedDict()
        self._stood_at: OrderedDict[int, float] = OrderedDict()

    async def authenticate(self, authorization: str) -> Caller:
        """The caller of an `Authorization` header; anonymous without one. Raises UNAUTHENTICATED for a token that is
        malformed, forged, expired or of a revoked session, UNAVAILABLE when that can't be found out."""
        if not authorization:
            return ANONYMOUS
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise unauthenticated("Authorization must be `Bearer <access token>`.")
        token = token.strip()
        claims = await self._verifier.verify(token)
        if not (await self.states([claims.session_id]))[claims.session_id]:
            raise unauthenticated("The session has been revoked.")
        return Caller(user_id=claims.user_id, session_id=claims.session_id, role=claims.role, token=token)

    async def states(self, session_ids: Sequence[int]) -> dict[int, bool]:
        """Whether sessions are active: by the cache, where it knows and answers, else by truth."""
        states = {number: False for number in session_ids if number in self._ended}
        unknown = [number for number in session_ids if number not in states]
        try:
            states |= await self._cache.known(unknown)
        except CacheError as error:
            _log.warning("session cache failed", error=str(error))
        unknown = [number for number in unknown if number not in states]
        if unknown:
            states |= await self._asked(unknown)
        self._note(states)
        return states

    async def _asked(self, session_ids: Sequence[int]) -> dict[int, bool]:
        """By truth; while that is away, sessions that stood within the last minutes still do. Raises UNAVAILABLE for
        any other."""
        try:
            truth = await self.true_states(session_ids)
        except AppError as error:
            since = self._clock.monotonic() - TRUSTED_S
            if not is_transient(error) or any(self._stood_at.get(number, since) <= since for number in session_ids):
                raise
            _log.warning("sessions are not checked", reason=error.reason.value)
            return dict.fromkeys(session_ids, True)
        try:
            await self._cache.remember(truth)
        except CacheError as error:
            _log.warning("session cache failed", error=str(error))
        return truth

    def _note(self, states: Mapping[int, bool]) -> None:
        """Remember which sessions stood just now."""
        for number, stands in states.items():
            if not stands:
                self._stood_at.pop(number, None)
                continue
            self._stood_at[number] = self._clock.monotonic()
            self._stood_at.move_to_end(number)
            if len(self._stood_at) > KEPT_STANDING:
                self._stood_at.popitem(last=False)

    async def true_states(self, session_ids: Sequence[int]) -> dict[int, bool]:
        """Whether sessions are active, by truth; raises UNAVAILABLE."""
        active: set[int] = set()
        for start in range(0, len(session_ids), STATES_BATCH):
            request = accounts_pb2.BatchGetSessionStatesRequest(session_ids=session_ids[start : start + STATES_BATCH])
            answer: accounts_pb2.BatchGetSessionStatesResponse = await self._peer.call(
                self._clients.accounts.BatchGetSessionStates, request, AS_SERVICE
            )
            active.update(answer.active_session_ids)
        return {number: number in active for number in session_ids}

    @contextmanager
    def bound(self, caller: Caller, end: Callable[[], None]) -> Iterator[None]:
        """Call `end` when the caller's session ends within the block; at once when it has ended just now."""
        number = caller.session_id
        if not number:
            yield
            return
        self._open[number].add(end)
        try:
            if number in self._ended:
                end()
            yield
        finally:
            self._open[number].discard(end)
            if not self._open[number]:
                del self._open[number]

    def end(self, session_id: int) -> None:
        """A session is over: its connections end, and its tokens are refused here whatever the cache says."""
        self._ended[session_id] = None
        self._stood_at.pop(session_id, None)
        self._ended.move_to_end(session_id)
        if len(self._ended) > KEPT_ENDED:
            self._ended.popitem(last=False)
        for end in tuple(self._open.get(session_id, ())):
            end()

    async def watch(self) -> None:
        """Follow revocations until cancelled. The stream tells of none that happened while it was lost, so after each
        loss the open sessions are asked for again."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self.recheck()
                stream = self._clients.accounts.StreamRevokedSessions
                async for event in self._peer.stream(stream, accounts_pb2.StreamRevokedSessionsRequest(), AS_SERVICE):
                    pause_s = FIRST_PAUSE_S
                    self.end(event.session_id)
            except AppError as error:
                _log.warning("revocations are not streamed", reason=error.reason.value)
            await self._clock.sleep(pause_s)
            pause_s = min(pause_s * 2, MAX_PAUSE_S)

    async def recheck_every(self, seconds: float) -> None:
        """Ask for the open sessions again and again: a revocation may be lost between the stream's start and its
        service's subscription."""
        while True:
            await self._clock.sleep(seconds)
            try:
                await self.recheck()
            except AppError as error:
                _log.warning("open sessions were not checked", reason=error.reason.value)

    async def recheck(self) -> None:
        """End the connections of sessions that are no longer active, by truth; raises UNAVAILABLE."""
        open_now = list(self._open)
        if not open_now:
            return
        for number, active in (await self.true_states(open_now)).items():
            if not active:
                self.end(number)
