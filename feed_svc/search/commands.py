"""Keeps the index and the hashtags as events and truth say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from feed_svc.search.store import (
    Account,
    AccountDirectory,
    Change,
    Document,
    HashtagRow,
    HashtagStore,
    Held,
    Key,
    Kind,
    PublishedVideo,
    Put,
    Remove,
    SearchIndex,
    SetAuthorNames,
    TaggedVideo,
    VideoDirectory,
)
from svc_kit.clock import Clock, now_ms

PAGE = 500
LAST_ID = 2**63 - 1


class SearchCommands:
    """Applies what happened, in any order and any number of times, and makes both projections again."""

    def __init__(
        self,
        index: SearchIndex,
        hashtags: HashtagStore,
        videos: VideoDirectory,
        accounts: AccountDirectory,
        clock: Clock,
    ) -> None:
        self._index = index
        self._hashtags = hashtags
        self._videos = videos
        self._accounts = accounts
        self._clock = clock

    async def apply(self, videos: Sequence[PublishedVideo], accounts: Sequence[Account]) -> None:
        """Take in videos and accounts as of their versions, in order. One commit of the index."""
        asked = {video.author_id for video in videos if video.shown} | {account.account_id for account in accounts}
        # Names inside videos have no version of their own: they are always those of now.
        authors = await self._accounts.accounts(sorted(asked))
        # The numbers of hashtags first: should the index fail, a repetition reads the same rows and writes them again.
        rows = await self._hashtags.apply([_tagged(video) for video in videos]) if videos else []
        changes: list[Change] = [video_change(video, authors, {}) for video in videos]
        changes += [hashtag_change(row) for row in rows]
        changes += [account_change(account, {}) for account in accounts]
        renamed = (
            authors[account_id] for account_id in dict.fromkeys(a.account_id for a in accounts) if account_id in authors
        )
        changes += [SetAuthorNames(author.account_id, _names(author)) for author in renamed]
        await self._index.write(changes)

    async def rebuild_index(self) -> int:
        """Make the index again from accounts, videos and hashtags; how many documents it has."""
        async with self._index.rebuild() as fresh:
            async for accounts in self._accounts.all():
                held = await self._index.held([_user_key(account.account_id) for account in accounts])
                await fresh.write([account_change(account, held) for account in accounts])
            last = 0
            while page := await self._videos.published(last, PAGE):
                last = page[-1].video_id
                shown = [video for video in page if video.shown]
                authors = await self._accounts.accounts(sorted({video.author_id for video in shown}))
                held = await self._index.held([_video_key(video.video_id) for video in shown])
                await fresh.write([video_change(video, authors, held) for video in page])
            name = ""
            while rows := await self._hashtags.page(name, PAGE):
                name = rows[-1].name
                await fresh.write([hashtag_change(row) for row in rows])
        return await self._index.count()

    async def rebuild_hashtags(self) -> int:
        """Make the hashtags again from all published videos; how many hashtags there are."""
        began, last = now_ms(self._clock), 0
        while True:
            page = await self._videos.published(last, PAGE)
            await self._hashtags.apply([_tagged(video) for video in page])
            until = page[-1].video_id if len(page) == PAGE else LAST_ID
            await self._hashtags.hide_unlisted(last, until, [video.video_id for video in page], began)
            if until == LAST_ID:
                break
            last = until
        await self._hashtags.recount()
        count, name = 0, ""
        while rows := await self._hashtags.page(name, PAGE):
            name = rows[-1].name
            await self._index.write([hashtag_change(row) for row in rows])
            count += sum(row.video_count > 0 for row in rows)
        return count


def video_change(video: PublishedVideo, authors: Mapping[int, Account], held: Mapping[Key, Held]) -> Change:
    """What a video means for the index; its popularity stays."""
    key = _video_key(video.video_id)
    if not video.shown:
        return Remove(key, video.version)
    author = authors.get(video.author_id)
    return Put(
        Document(
            key,
            video.version,
            names=video.hashtags,
            text=video.caption,
            author_id=video.author_id,
            author_names=_names(author) if author else (),
            popularity=held[key].popularity if key in held else 0,
            created_at_ms=video.published_at_ms,
        )
    )


def account_change(account: Account, held: Mapping[Key, Held]) -> Change:
    """What an account means for the index. Truth knows no version: then the one that is there, so that older
    news stay out."""
    key = _user_key(account.account_id)
    if account.gone:
        return Remove(key, account.version)
    now = held.get(key, Held(0, 0))
    version = account.version or now.version
    return Put(Document(key, version, names=_names(account), popularity=now.popularity))


def hashtag_change(row: HashtagRow) -> Change:
    """What a hashtag means for the index: without videos it is not found."""
    key = (Kind.HASHTAG, row.name)
    if row.video_count <= 0:
        return Remove(key, row.version)
    return Put(Document(key, row.version, names=(row.name,), popularity=row.video_count))


def _tagged(video: PublishedVideo) -> TaggedVideo:
    return TaggedVideo(video.video_id, video.version, video.shown, video.published_at_ms, video.hashtags)


def _names(account: Account) -> tuple[str, ...]:
    return account.username, account.display_name


def _video_key(video_id: int) -> Key:
    return Kind.VIDEO, str(video_id)


def _user_key(account_id: int) -> Key:
    return Kind.USER, str(account_id)
