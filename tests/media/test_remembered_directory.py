"""Playback while the database is away: by what is known, and never of what is known to be gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from media_svc.delivery.store import Playable
from media_svc.delivery.stores.remembered import RememberedDirectory
from media_svc.play_names import PlayNames
from media_svc.videos.store import NO_MEDIA, VideoRow, VideoState, Visibility
from media_svc.videos.stores.remembered import RememberedVideos
from media_svc.videos.stores.sql import SqlVideoStore
from svc_kit.cache import Cache, CacheError
from svc_kit.errors import AppError, Reason, unavailable
from svc_kit.last_known import LastKnown
from tests.support.cache import empty_cache
from tests.support.clock import FakeClock

ROW = VideoRow(
    id=7,
    author_id=1,
    upload_id=2,
    set_id=3,
    state=VideoState.READY,
    failure_reason="",
    visibility=Visibility.PUBLIC,
    allow_comments=True,
    caption="",
    hashtags=(),
    language="en",
    media=NO_MEDIA,
    play_id="name",
    created_at_ms=0,
    published_at_ms=1,
    version=1,
)
FOUND = Playable(7, 3, is_public=True)


class Truth:
    """A directory that knows one name, and can be away."""

    away = False

    async def playable(self, play_id: str) -> Playable | None:
        if self.away:
            raise unavailable("The database can't be reached.")
        return FOUND if play_id == "name" else None

    async def avatar_set(self, key: str) -> int:
        return 0


class Videos(SqlVideoStore):
    """A store of some rows."""

    def __init__(self, rows: Sequence[VideoRow]) -> None:
        self._rows = rows

    async def videos(self, ids: Sequence[int]) -> Sequence[VideoRow]:
        return self._rows


class Replica:
    """One process: a directory and what it knows, over a cache that all share."""

    def __init__(self, cache: Cache) -> None:
        self.truth = Truth()
        self.known = LastKnown(cache, FakeClock(), "video", VideoRow, lambda row: row.version)
        self.names = PlayNames(cache, FakeClock())
        self.directory = RememberedDirectory(self.truth, self.known, self.names)


@pytest.fixture
async def replicas() -> AsyncIterator[list[Replica]]:
    async with empty_cache("memory") as cache:
        first, second = Replica(cache), Replica(cache)
        await first.known.remember({7: ROW})
        assert await first.directory.playable("name") == FOUND
        assert await first.directory.playable("other") is None
        first.truth.away = second.truth.away = True
        yield [first, second]


async def test_a_name_that_was_played_goes_on_at_every_replica(replicas: list[Replica]) -> None:
    assert [await replica.directory.playable("name") for replica in replicas] == [FOUND, FOUND]


async def test_a_name_that_was_given_out_and_never_played_is_played(replicas: list[Replica]) -> None:
    first, second = replicas
    given_out = replace(ROW, id=8, play_id="given out")
    await RememberedVideos(Videos([given_out]), first.known, first.names).videos([8])
    expected = Playable(8, 3, is_public=True)
    assert [await replica.directory.playable("given out") for replica in (first, second)] == [expected, expected]


async def test_a_name_that_nobody_knows_is_refused_not_denied(replicas: list[Replica]) -> None:
    for replica in replicas:
        with pytest.raises(AppError) as refused:
            await replica.directory.playable("other")
        assert refused.value.reason is Reason.UNAVAILABLE


@pytest.mark.parametrize(
    "changed",
    [
        replace(ROW, version=2, state=VideoState.DELETED),
        replace(ROW, version=2, state=VideoState.REMOVED),
        replace(ROW, version=2, play_id="another"),
    ],
)
async def test_what_another_replica_removed_just_before_is_gone(replicas: list[Replica], changed: VideoRow) -> None:
    await replicas[1].known.remember({7: changed})
    assert [await replica.directory.playable("name") for replica in replicas] == [None, None]


async def test_what_became_private_is_cached_by_nobody(replicas: list[Replica]) -> None:
    await replicas[1].known.remember({7: replace(ROW, version=2, visibility=Visibility.PRIVATE)})
    assert await replicas[0].directory.playable("name") == Playable(7, 3, is_public=False)


@pytest.mark.parametrize("state", [VideoState.DELETED, VideoState.REMOVED])
async def test_what_was_removed_while_the_cache_was_away_is_gone_when_it_is_back(
    replicas: list[Replica], state: VideoState, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = replicas[0]

    async def refuse(*_calls: object) -> list[object]:
        raise CacheError("away")

    with monkeypatch.context() as away:
        away.setattr(first.known._cache, "batch", refuse)
        await first.known.remember({7: replace(ROW, version=2, state=state)})
    assert await first.directory.playable("name") is None
