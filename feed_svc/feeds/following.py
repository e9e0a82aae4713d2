"""The feed Following: everything that followed accounts published, newest first."""

from __future__ import annotations

from feed_svc.feeds.cursors import FOLLOWING, Cursors, Place
from feed_svc.feeds.hydration import Hydrator, RelationsReader
from feed_svc.feeds.impressions import Impressions, ServedPart
from feed_svc.feeds.queries import FeedEdge, FeedPage
from feed_svc.feeds.reasons import ReasonKind
from feed_svc.feeds.rules import Picked
from feed_svc.feeds.snapshot import Entry
from feed_svc.feeds.sources import INBOX, NUMBERS
from feed_svc.feeds.store import FollowedSource, PostLike
from feed_svc.feeds.viewers import Viewer
from svc_kit.errors import AppError, unavailable
from svc_kit.ids import IdGenerator

MOST_ROUNDS = 10


class Following:
    """Pages by time: a cursor carries its place, so nothing is kept, and no page repeats or skips."""

    def __init__(
        self,
        followed: FollowedSource,
        relations: RelationsReader,
        hydrator: Hydrator,
        cursors: Cursors,
        impressions: Impressions,
        ids: IdGenerator,
    ) -> None:
        self._followed = followed
        self._relations = relations
        self._hydrator = hydrator
        self._cursors = cursors
        self._impressions = impressions
        self._ids = ids

    async def page(self, viewer: Viewer, size: int, cursor: str) -> FeedPage:
        """The page after `cursor`, or the first one. Raises BAD_USER_INPUT for a cursor that is not this viewer's, and
        UNAVAILABLE when nothing is known of whom they follow."""
        place = self._cursors.open(cursor, viewer.binding, FOLLOWING) if cursor else None
        known = await self._relations.of(viewer.id)
        if not known.is_known:
            raise unavailable("Whom you follow can't be read now.")
        relations = known.relations
        authors = relations.followees - relations.blocked - relations.muted
        posts, more, verified = await self._posts(viewer.id, authors, size, place)
        snapshot_id = place.snapshot_id if place else format(self._ids.next(), "x")
        first = place.position + 1 if place else 0
        picked = [Picked(_entry(post)) for post in posts]
        self._impressions.served(viewer, ServedPart(FOLLOWING, snapshot_id, first, picked, ""))
        edges = []
        for position, post in enumerate(posts, first):
            at = Place(FOLLOWING, snapshot_id, position, post.video_id, post.published_at_ms)
            cursor = self._cursors.seal(at, viewer.binding)
            edges.append(FeedEdge(post.video_id, cursor, ReasonKind.FOLLOWED, user_id=post.author_id))
        return FeedPage(edges, more, snapshot_id, is_stale=not (known.is_fresh and verified))

    async def _posts(
        self, viewer_id: int, authors: frozenset[int], size: int, place: Place | None
    ) -> tuple[list[PostLike], bool, bool]:
        """Up to `size` visible posts, whether there are more, and whether all were verified."""
        before = (place.published_at_ms, place.video_id) if place else None
        found: list[PostLike] = []
        verified = True
        for _ in range(MOST_ROUNDS):
            wanted = size + max(5, size // 2)
            posts = await self._followed.newest(viewer_id, authors, wanted, before=before)
            try:
                visible = await self._hydrator.visible(viewer_id, [post.video_id for post in posts])
            except AppError as error:
                raise unavailable("The feed can't be read now.") from error
            verified &= visible.is_verified
            found += [post for post in posts if post.video_id in visible.facts]
            if len(found) > size or len(posts) < wanted:
                break
            before = (posts[-1].published_at_ms, posts[-1].video_id)
        return found[:size], len(found) > size, verified


def _entry(post: PostLike) -> Entry:
    return Entry(post.video_id, post.author_id, 0, 0.0, NUMBERS[INBOX], int(ReasonKind.FOLLOWED), 0, 0)
