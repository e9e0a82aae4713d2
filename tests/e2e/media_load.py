"""What people do beside reading feeds and writing, steadily and seldom: they upload, play and search."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urljoin, urlsplit

import httpx

from launcher.demo.client import ApiClient, RequestFailed
from tests.e2e.seen import Seen
from tests.e2e.upload_book import NotDone, UploadBook

UPLOAD_EVERY_S, PLAY_EVERY_S, SEARCH_EVERY_S = 4.0, 1.0, 1.0
FETCH_S = 20.0
PLAYBACK = "query ($id: ID!) { video(id: $id) { playback { hlsUrl } } }"
SEARCH = """query ($query: String!) { search(query: $query, first: 5) { edges { node { __typename } } } }"""
WORDS = ("no", "cats", "author", "ann")


class Visits:
    """Uploads, plays and searches of some people. `origin` chooses, where given, whose media server is asked for
    bytes, as the balancer before several would."""

    def __init__(
        self,
        people: Mapping[str, ApiClient],
        videos: list[str],
        book: UploadBook,
        dice: random.Random,
        seen: Callable[[], Seen],
        origin: Callable[[], str] | None = None,
    ) -> None:
        self._people = people
        self._videos = videos
        self._book = book
        self._dice = dice
        self._seen = seen
        self._origin = origin
        self._uploading = asyncio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Go on while the block lasts; then what was begun has ended."""
        stop = asyncio.Event()
        turns = ((self.upload, UPLOAD_EVERY_S), (self.play, PLAY_EVERY_S), (self.search, SEARCH_EVERY_S))
        tasks = [asyncio.create_task(_again_and_again(turn, every_s, stop)) for turn, every_s in turns]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*tasks)

    async def upload(self) -> bool:
        """One upload to the video's publication: the oldest that is open, else a new one."""
        async with self._uploading:
            pending = self._book.pending
            sending = pending.pop(0) if pending else self._book.draw(self._dice.choice(list(self._people)))
            return await self._book.attempt(sending, self._people, self._seen())

    async def play(self) -> None:
        """Begin to play a video as a player does: master playlist, playlist, first segment."""
        seen, client = self._seen(), self._people[self._dice.choice(list(self._people))]
        try:
            found = (await client.query(PLAYBACK, {"id": self._dice.choice(self._videos)}))["video"]
            if not (found and found["playback"]):
                raise NotDone("video null")
            master = self._balanced(found["playback"]["hlsUrl"])
            playlist = urljoin(master, _first_uri(await _fetch(client.http, "master", master)))
            segment = urljoin(playlist, _first_uri(await _fetch(client.http, "playlist", playlist)))
            await _fetch(client.http, "segment", segment)
        except NotDone as failure:
            seen.count(seen.failed_plays, failure.name, hinted=failure.hinted)
        except RequestFailed as error:
            seen.refused(seen.failed_plays, "video", error)
        except (httpx.TransportError, ValueError) as error:
            seen.failed_plays[f"play {type(error).__name__}"] += 1
        else:
            seen.plays += 1

    async def search(self) -> None:
        """Search for what is there."""
        seen, client = self._seen(), self._people[self._dice.choice(list(self._people))]
        try:
            answer = await client.query(SEARCH, {"query": self._dice.choice(WORDS)})
            if answer["search"] is None:
                raise NotDone("search null")
        except NotDone as failure:
            seen.count(seen.failed_searches, failure.name, hinted=failure.hinted)
        except RequestFailed as error:
            seen.refused(seen.failed_searches, "search", error)
        except (httpx.TransportError, ValueError) as error:
            seen.failed_searches[f"search {type(error).__name__}"] += 1
        else:
            seen.searches += 1
            seen.found_nothing += not answer["search"]["edges"]

    def _balanced(self, url: str) -> str:
        if self._origin is None:
            return url
        parts = urlsplit(url)
        return url.replace(f"{parts.scheme}://{parts.netloc}", self._origin(), 1)


async def _again_and_again(turn: Callable[[], Awaitable[object]], every_s: float, stop: asyncio.Event) -> None:
    """A steady rate; what takes longer than its turn delays the next one."""
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        next_at = loop.time() + every_s
        await turn()
        try:
            async with asyncio.timeout_at(next_at):
                await stop.wait()
        except TimeoutError:
            continue


async def _fetch(http: httpx.AsyncClient, what: str, url: str) -> bytes:
    answer = await http.get(url, timeout=FETCH_S)
    if answer.status_code != 200:
        raise NotDone(f"{what} {answer.status_code}", hinted="retry-after" in answer.headers)
    return answer.content


def _first_uri(playlist: bytes) -> str:
    for line in playlist.decode().splitlines():
        if line and not line.startswith("#"):
            return line
    raise ValueError("a playlist without a URI")
