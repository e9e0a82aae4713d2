"""What every search index must do; run against each adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from feed_svc.search.store import (
    Document,
    Held,
    Key,
    Kind,
    Put,
    Remove,
    SearchIndex,
    SetAuthorNames,
    SetPopularity,
)
from feed_svc.search.stores import SEARCH_SCHEMES
from svc_kit.backends import migrate, resolve
from svc_kit.errors import AppError, Reason
from tests.support.engines import servers
from tests.support.fake_meilisearch import fake_meilisearch
from tests.support.meilisearch import meilisearch_url, own_indexes

ALL = list(Kind)


@pytest.fixture(scope="module")
def fake() -> Iterator[str]:
    with fake_meilisearch() as (url, _):
        yield url


@pytest.fixture(params=["tantivy", "fake meilisearch", *servers("meilisearch")])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    if request.param == "tantivy":
        yield f"tantivy://{tmp_path / 'search'}"
        return
    server = meilisearch_url() if request.param == "meilisearch" else request.getfixturevalue("fake")
    async with own_indexes(server) as own:
        await migrate("REELGRAPH_SEARCH_URL", own, SEARCH_SCHEMES)
        yield own


@pytest.fixture
async def index(url: str) -> AsyncIterator[SearchIndex]:
    opened = await open_index(url)
    yield opened
    await opened.close()


async def open_index(url: str) -> SearchIndex:
    index: SearchIndex = await resolve("REELGRAPH_SEARCH_URL", url, SEARCH_SCHEMES).open(url)
    return index


def video(number: int, text: str = "", version: int = 1, **more: Any) -> Put:
    return Put(Document((Kind.VIDEO, str(number)), version, text=text, **more))


def user(number: int, *names: str, version: int = 1, **more: Any) -> Put:
    return Put(Document((Kind.USER, str(number)), version, names=names, **more))


def hashtag(name: str, popularity: int = 1, version: int = 1) -> Put:
    return Put(Document((Kind.HASHTAG, name), version, names=(name,), popularity=popularity))


async def found(index: SearchIndex, query: str, kinds: Sequence[Kind] = ALL, limit: int = 20) -> list[str]:
    return [key[1] for key in (hit.key for hit in await index.search(query, kinds, limit))]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Football in the rain", "football"),
        ("Football in the rain", "FOOTB"),
        ("Football in the rain", "fotball"),
        ("Football in the rain", "fotb"),
        ("Football in the rain", "rain foot"),
        ("Celebration tonight", "celabretion"),
        ("Celebration tonight", "celabrasi"),
        ("Café au lait", "cafe"),
        ("cafe", "CAFÉ"),
        ("Ｆｕｌｌ ｗｉｄｔｈ", "full width"),
        ("Straße", "strasse"),
        ("don’t stop", "dont"),
        ("日本語の動画", "日本"),
        ("日本語の動画", "動画"),
        ("日本語の動画", "語"),
        ("한국어 음악", "음"),
        ("สวัสดีครับ", "ครับ"),
        ("Ёлка горит", "елка"),
        ("नमस्ते दुनिया", "नमस"),
        ("so 🔥 today", "🔥"),
        ("#new_york by night", "newyork"),
        ("#newyork by night", "new york"),
    ],
)
async def test_a_text_is_found_by_what_people_type(index: SearchIndex, text: str, query: str) -> None:
    await index.write([video(1, text), video(2, "something else entirely")])
    assert await found(index, query) == ["1"]


@pytest.mark.parametrize("query", ["", "   ", "!?", "rugby", "foo ball", "rain snow", "日語", "fo0tbll"])
async def test_what_does_not_match_is_not_found(index: SearchIndex, query: str) -> None:
    await index.write([video(1, "Football in the rain 日本語"), user(2, "anna", "Anna")])
    assert await found(index, query) == []


async def test_one_of_three_words_may_be_missing_and_then_ranks_behind(index: SearchIndex) -> None:
    await index.write([video(1, "red car song"), video(2, "red fast car song"), video(3, "red only")])
    assert await found(index, "red fast car") == ["2", "1"]


async def test_exact_words_come_before_prefixes_and_those_before_typos(index: SearchIndex) -> None:
    await index.write([video(1, "catz", popularity=10**9), video(2, "catsuit", popularity=10**6), video(3, "cats")])
    assert await found(index, "cats") == ["3", "2", "1"]


async def test_among_equal_matches_popularity_decides_and_then_age(index: SearchIndex) -> None:
    day = 86_400_000
    old, new = 1_800_000_000_000, 1_800_000_000_000 + day
    await index.write(
        [
            video(1, "cats", created_at_ms=old),
            video(2, "cats", created_at_ms=new),
            video(3, "cats", created_at_ms=old, popularity=1000),
        ]
    )
    assert await found(index, "cats") == ["3", "2", "1"]


async def test_a_name_comes_before_a_mention_and_the_whole_name_first(index: SearchIndex) -> None:
    await index.write(
        [
            video(1, "all about cats", author_id=4, author_names=("dora", "Dora")),
            user(2, "cats_daily", "Cats every day"),
            hashtag("cats"),
            video(3, "dogs", author_id=5, author_names=("cats_fan",)),
        ]
    )
    assert await found(index, "cats") == ["cats", "2", "1", "3"]


async def test_only_the_wanted_kinds_are_found(index: SearchIndex) -> None:
    await index.write([video(1, "cats"), user(2, "cats"), hashtag("cats")])
    assert await found(index, "cats", [Kind.USER]) == ["2"]
    assert await found(index, "cats", [Kind.HASHTAG, Kind.VIDEO]) == ["cats", "1"]
    assert await found(index, "cats", []) == []


async def test_pages_by_offset_hold_everything_once(index: SearchIndex) -> None:
    await index.write([video(n, "cats", popularity=2**n - 1) for n in range(1, 24)])
    pages = [await index.search("cats", ALL, 10, offset) for offset in (0, 10, 20)]
    assert [len(page) for page in pages] == [10, 10, 3]
    assert [hit.key[1] for page in pages for hit in page] == [str(n) for n in range(23, 0, -1)]


async def test_a_user_name_is_found_by_its_parts_and_joined(index: SearchIndex) -> None:
    await index.write([user(1, "football_creator", "Fritz Walter")])
    for query in ("football_cr", "creator", "footballcreator", "fritz w", "walter fritz"):
        assert await found(index, query) == ["1"], query


async def test_a_lower_or_equal_version_changes_nothing_also_after_a_removal(index: SearchIndex) -> None:
    key: Key = (Kind.VIDEO, "1")
    await index.write([video(1, "second", version=2)])
    await index.write([video(1, "first", version=1), Remove(key, 1), video(1, "other", version=2)])
    assert (await found(index, "second"), await found(index, "first"), await found(index, "other")) == (["1"], [], [])
    await index.write([Remove(key, 5)])
    await index.write([video(1, "fourth", version=4), Remove(key, 5)])
    assert (await found(index, "second"), await found(index, "fourth"), await index.count()) == ([], [], 0)
    await index.write([video(1, "sixth", version=6)])
    assert (await found(index, "sixth"), await index.count()) == (["1"], 1)


async def test_changes_of_one_write_apply_in_order(index: SearchIndex) -> None:
    key: Key = (Kind.VIDEO, "1")
    await index.write([video(1, "one"), video(1, "two", version=2), Remove(key, 3), video(1, "four", version=4)])
    assert (await found(index, "four"), await found(index, "two"), await index.count()) == (["1"], [], 1)


async def test_popularity_changes_without_the_version_and_never_makes_a_document(index: SearchIndex) -> None:
    await index.write([video(1, "cats", version=3), video(2, "cats", popularity=50)])
    await index.write([SetPopularity((Kind.VIDEO, "1"), 5000), SetPopularity((Kind.VIDEO, "9"), 5)])
    assert await found(index, "cats") == ["1", "2"]
    held = await index.held([(Kind.VIDEO, "1"), (Kind.VIDEO, "9")])
    assert held == {(Kind.VIDEO, "1"): Held(version=3, popularity=5000)}


async def test_an_authors_new_name_is_found_in_all_their_videos(index: SearchIndex) -> None:
    await index.write([video(n, "clip", author_id=7, author_names=("anna",)) for n in (1, 2)])
    await index.write([video(3, "clip", author_id=8, author_names=("anna",)), user(7, "anna")])
    fresh = video(4, "clip", author_id=7, author_names=("anna",))
    await index.write([fresh, SetAuthorNames(7, ("berta",))])
    assert sorted(await found(index, "berta")) == ["1", "2", "4"]
    assert sorted(await found(index, "anna", [Kind.VIDEO])) == ["3"]


async def test_writes_at_the_same_time_all_arrive(index: SearchIndex) -> None:
    await asyncio.gather(*(index.write([video(n, "cats")]) for n in range(1, 30)))
    assert await index.count() == 29


async def test_a_rebuild_replaces_everything_at_once_and_writes_meanwhile_reach_both(index: SearchIndex) -> None:
    await index.write([video(1, "stale cats"), video(2, "old cats")])
    async with index.rebuild() as fresh:
        await fresh.write([video(2, "rebuilt cats", version=1), video(3, "rebuilt cats")])
        await index.write([video(4, "written meanwhile"), Remove((Kind.VIDEO, "3"), 2)])
        assert sorted(await found(index, "cats")) == ["1", "2"]
        assert await found(index, "meanwhile") == ["4"]
        await fresh.write([video(3, "too late", version=1)])
        with pytest.raises(AppError) as refused:
            async with index.rebuild():
                pass
        assert refused.value.reason is Reason.UNAVAILABLE
    assert await found(index, "cats") == ["2"]
    assert (await found(index, "meanwhile"), await index.count()) == (["4"], 2)
    await index.write([video(5, "after the rebuild")])
    assert await found(index, "after") == ["5"]


async def test_a_failed_rebuild_leaves_the_index_as_it_was(index: SearchIndex) -> None:
    await index.write([video(1, "cats")])
    with pytest.raises(RuntimeError):
        async with index.rebuild() as fresh:
            await fresh.write([video(2, "cats")])
            raise RuntimeError("the truth can't be read")
    assert await found(index, "cats") == ["1"]
    async with index.rebuild() as fresh:
        await fresh.write([video(3, "cats")])
    assert await found(index, "cats") == ["3"]


async def test_what_was_written_is_there_after_opening_again_and_seen_by_other_readers(
    index: SearchIndex, url: str
) -> None:
    await index.write([video(1, "cats")])
    other = await open_index(url)
    assert await found(other, "cats") == ["1"]
    await index.write([video(2, "cats")])
    assert sorted(await found(other, "cats")) == ["1", "2"]
    await other.write([video(3, "cats")])
    assert sorted(await found(index, "cats")) == ["1", "2", "3"]
    async with index.rebuild() as fresh:
        await fresh.write([video(4, "cats")])
    assert await found(other, "cats") == ["4"]
    await other.close()
    await index.close()
    again = await open_index(url)
    await again.check()
    assert await found(again, "cats") == ["4"]
    await again.close()


async def test_an_unknown_scheme_names_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"file, meilisearch, meilisearch\+https, tantivy"):
        resolve("REELGRAPH_SEARCH_URL", "solr://x", SEARCH_SCHEMES)
