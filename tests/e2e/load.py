"""A steady load through GraphQL by people who keep a book of what was acknowledged, over several gateways."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import httpx

from launcher.demo.client import ApiClient, Json, RequestFailed
from svc_kit.ending import cancel_all
from tests.e2e.ledger import Ledger, Operation
from tests.e2e.media_load import Visits
from tests.e2e.seen import Seen
from tests.e2e.upload_book import UploadBook
from tests.e2e.world import PASSWORD

FEED = """query ($after: String) {
  feed(first: 10, after: $after) { stale edges { cursor node { id } } pageInfo { hasNextPage } } }"""
POLL_S, LOG_IN_S = 0.25, 300.0


class Balancer:
    """Chooses among replicas as a load balancer would: those whose `/readyz` is 200."""

    def __init__(self, bases: Sequence[str], dice: random.Random) -> None:
        self._bases = list(bases)
        self._dice = dice
        self._ready = list(bases)

    def pick(self) -> str:
        """The origin for the next request."""
        return self._dice.choice(self._ready or self._bases)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Ask all of them again and again while the block lasts."""
        async with httpx.AsyncClient(timeout=2) as http:
            task = asyncio.create_task(self._follow(http))
            try:
                yield
            finally:
                await cancel_all([task])

    async def _follow(self, http: httpx.AsyncClient) -> None:
        while True:
            answers = await asyncio.gather(*(_is_ready(http, base) for base in self._bases))
            self._ready = [base for base, ready in zip(self._bases, answers, strict=True) if ready]
            await asyncio.sleep(POLL_S)


async def _is_ready(http: httpx.AsyncClient, base: str) -> bool:
    try:
        return (await http.get(f"{base}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


class BalancedClient(ApiClient):
    """A client whose every request goes to a gateway that is ready."""

    def __init__(self, balancer: Balancer, client_id: str) -> None:
        super().__init__(f"{balancer.pick()}/graphql", client_id=client_id, timeout_s=20)
        self._balancer = balancer

    async def raw(self, query: str, variables: Mapping[str, Any] | None = None) -> Json:
        """See `ApiClient.raw`; where no connection could be made, nothing was sent, and another gateway is tried."""
        for _ in range(3):
            self.url = f"{self._balancer.pick()}/graphql"
            with suppress(httpx.ConnectError):
                return await super().raw(query, variables)
            await asyncio.sleep(POLL_S)
        self.url = f"{self._balancer.pick()}/graphql"
        return await super().raw(query, variables)


class BookedLedger(Ledger):
    """A ledger that also counts how writes failed."""

    seen: Seen

    async def attempt(self, operation: Operation, people: dict[str, ApiClient]) -> bool:
        """See `Ledger.attempt`. What is refused without being honest about it is counted as such."""
        try:
            await people[operation.person].mutate(operation.name, operation.fields, **operation.input)
        except (httpx.TransportError, ValueError) as error:
            self.seen.failed_writes[type(error).__name__] += 1
        except RequestFailed as error:
            self.seen.refused(self.seen.failed_writes, operation.name, error)
        else:
            operation.book(self)
            self.acknowledged += 1
            self.seen.writes += 1
            return True
        self.pending.append(operation)
        return False


class Load:
    """People at work: each reads feeds and writes all the time; all together upload `clip`s, play and search at a low,
    steady rate. `watch()` begins a new count of what they see. `media`: balances over media servers."""

    def __init__(
        self,
        people: dict[str, ApiClient],
        videos: list[str],
        clip: bytes,
        dice: random.Random,
        media: Balancer | None = None,
    ) -> None:
        self.people = people
        self.videos = videos
        self.ledger = BookedLedger(dice)
        self.uploads = UploadBook(clip, dice)
        self.seen = self.ledger.seen = Seen()
        origin = media.pick if media else None
        self.visits = Visits(people, videos, self.uploads, dice, lambda: self.seen, origin)
        self._dice = dice
        self._logged_in_at = dict.fromkeys(people, time.monotonic())

    def watch(self) -> Seen:
        """A new, empty count."""
        self.seen = self.ledger.seen = Seen()
        return self.seen

    @asynccontextmanager
    async def running(self, pause_s: float = 0.05) -> AsyncIterator[None]:
        """Work while the block lasts; then every operation that was begun has ended."""
        stop = asyncio.Event()
        async with self.visits.running():
            tasks = [asyncio.create_task(self._person(name, stop, pause_s)) for name in self.people]
            try:
                yield
            finally:
                stop.set()
                await asyncio.gather(*tasks)

    async def _person(self, name: str, stop: asyncio.Event, pause_s: float) -> None:
        client, after = self.people[name], ""
        while not stop.is_set():
            # Tokens end, however often the load pauses in between.
            if time.monotonic() - self._logged_in_at[name] > LOG_IN_S:
                self._logged_in_at[name] = await self._log_in_again(name, self._logged_in_at[name])
            after = await self._read(client, after)
            await self._write(name)
            await asyncio.sleep(pause_s * self._dice.uniform(0.5, 1.5))

    async def _log_in_again(self, name: str, before: float) -> float:
        try:
            await self.people[name].log_in(name, PASSWORD)
            return time.monotonic()
        except (RequestFailed, httpx.TransportError):
            return before + 5

    async def _read(self, client: ApiClient, after: str) -> str:
        began = time.monotonic()
        try:
            feed = (await client.query(FEED, {"after": after or None}))["feed"]
        except RequestFailed as error:
            self.seen.failed_reads[str(error.codes)] += 1
            return ""
        except (httpx.TransportError, ValueError) as error:
            self.seen.failed_reads[type(error).__name__] += 1
            return ""
        self.seen.read_s.append(time.monotonic() - began)
        self.seen.reads += 1
        self.seen.stale += bool(feed["stale"])
        self.seen.empty += not feed["edges"]
        return str(feed["edges"][-1]["cursor"]) if feed["pageInfo"]["hasNextPage"] else ""

    async def _write(self, name: str) -> None:
        # What is open goes first: a person's operations keep their order.
        mine = [operation for operation in self.ledger.pending if operation.person == name]
        for operation in mine:
            self.ledger.pending.remove(operation)
            if not await self.ledger.attempt(operation, self.people):
                return
        await self.ledger.attempt(self.ledger.draw(name, self.people, self.videos), self.people)


@asynccontextmanager
async def balanced(bases: Sequence[str], dice: random.Random) -> AsyncIterator[Balancer]:
    """A balancer over servers, which knows who of them is ready while the block lasts."""
    balancer = Balancer(bases, dice)
    async with balancer.following():
        yield balancer


@asynccontextmanager
async def crowd(bases: Sequence[str], names: Sequence[str], dice: random.Random) -> AsyncIterator[dict[str, ApiClient]]:
    """Signed-up people over the gateways at `bases`."""
    async with AsyncExitStack() as stack:
        balancer = await stack.enter_async_context(balanced(bases, dice))
        people: dict[str, ApiClient] = {}
        for name in names:
            people[name] = await stack.enter_async_context(BalancedClient(balancer, name))
            await people[name].sign_up(name, PASSWORD, name.capitalize())
        yield people
