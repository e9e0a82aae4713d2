"""What each event means for the features: rows are loaded, changed in memory in order, then written."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rank_svc.features.decay import DAY_MS, HOUR_MS, heat_of, join
from rank_svc.features.lengths import bucket_of
from rank_svc.features.store import BucketStats, Changes, FeatureTx, VideoFacts, VideoState, Viewer
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.video_pb2 import VideoFacts as VideoFactsMessage
from svc_kit.trust import trust

GROWN_MS = 3 * DAY_MS
"""From this age on an account's acts count whole."""

LIKE_WEIGHT = 1.0
SHARE_WEIGHT = 2.0
"""What a like and a share add to a video's heat, where a well watched view adds about 1."""
NEWCOMERS_WEIGHT = 0.05
"""What an act of an account that was made just now adds to heat, against one of an established account. Heats are
compared with one another only, so where all accounts are new the order stays as it is."""
DEVICES = frozenset({"phone", "tablet", "desktop", "tv"})
"""Kinds of device that have popular lists of their own; others count as not told."""


@dataclass(slots=True)
class Batch:
    """What a batch of events reads and writes."""

    changes: Changes = field(default_factory=Changes)
    videos: dict[int, VideoState] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)
    viewers: dict[int, Viewer] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)
    forgotten: list[int] = field(default_factory=list)
    grown_ms: int = GROWN_MS
    repeats: bool = False
    """The event at hand does again what its account did with the video on the same day."""

    def trust(self, viewer_id: int, author_id: int, at_ms: int) -> float:
        """How much an act counts, 0 to 1; nothing for what authors do with their own, or is done again."""
        return 0.0 if viewer_id == author_id or self.repeats else trust(viewer_id, at_ms, self.grown_ms)


def counting_key(event: Event) -> int:
    """What an event is counted by: a watch or a page by its entity, for it can't change; another by its version too."""
    body = event.WhichOneof("body")
    name = event.entity or f"event:{event.id}"
    once = body in {"watch_recorded", "feed_served"}
    return _key(name if once else f"{name}@{event.entity_version}")


def daily_key(event: Event) -> int | None:
    """What all watches of a video by an account within a day share, and so its likes and its shares: the first has
    weight in trials and popular lists, or one account could fill them. None for other events."""
    kind = event.WhichOneof("body") or ""
    if kind not in {"watch_recorded", "engagement_video_liked", "engagement_video_shared"}:
        return None
    body: Any = getattr(event, kind)
    day = at_ms_of(event) // DAY_MS
    return _key(f"{kind}:{body.user_id}:{body.video_id}:{day}") if body.user_id else None


def _key(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def at_ms_of(event: Event) -> int:
    return event.occurred_at.ToMilliseconds()


async def load(tx: FeatureTx, events: Sequence[Event], grown_ms: int = GROWN_MS) -> Batch:
    """The rows that these events change, in two reads."""
    videos, viewers = set(), set()
    for event in events:
        body: Any = getattr(event, event.WhichOneof("body") or "")
        kind = event.WhichOneof("body") or ""
        if kind.startswith("video_"):
            videos.add(body.video.video_id if hasattr(body, "video") else body.video_id)
        elif kind == "moderation_video_removed":
            videos.add(body.video_id)
        elif kind in _WARMING:
            viewers.add(body.user_id)
        elif kind == "account_interests_set":
            viewers.add(body.account_id)
    return Batch(
        videos=dict(await tx.videos(videos)) if videos else {},
        viewers=dict(await tx.viewers(viewers)) if viewers else {},
        grown_ms=grown_ms,
    )


def facts_of(video: VideoFactsMessage) -> VideoFacts:
    """Facts from their message."""
    return VideoFacts(
        video.video_id,
        video.author_id,
        tuple(video.hashtags),
        video.language,
        video.visibility,
        video.duration_ms,
        video.has_audio,
        video.published_at_ms,
    )


def take_facts(batch: Batch, facts: VideoFacts, version: int, *, published: bool) -> None:
    known = batch.videos.get(facts.video_id)
    if known is None:
        state = VideoState(facts, version, published, False, 0)
    elif known.deleted:
        return
    else:
        newer = version > known.version
        state = replace(
            known,
            facts=facts if newer else known.facts,
            version=max(version, known.version),
            published=known.published or published,
        )
    if state != known:
        batch.videos[facts.video_id] = state
        batch.touched.add(facts.video_id)


def _published(batch: Batch, event: Event, body: Any) -> None:
    take_facts(batch, facts_of(body.video), event.entity_version, published=True)


def _updated(batch: Batch, event: Event, body: Any) -> None:
    take_facts(batch, facts_of(body.video), event.entity_version, published=False)


def _deleted(batch: Batch, event: Event, body: Any) -> None:
    facts = VideoFacts(body.video_id, getattr(body, "author_id", 0))
    known = batch.videos.get(body.video_id, VideoState(facts, 0, False, False, 0))
    if not known.deleted:
        batch.videos[body.video_id] = replace(known, deleted=True)
        batch.touched.add(body.video_id)


def _watched(batch: Batch, event: Event, body: Any) -> None:
    if body.user_id and body.user_id == body.author_id:
        return
    at, duration, watched = at_ms_of(event), max(body.duration_ms, 0), max(body.watched_ms, 0)
    ratio = min(watched / duration, 1.0) if duration else float(body.completed)
    stats = batch.changes.video(body.video_id)
    stats.views += 1
    stats.completions += body.completed
    stats.skips += body.skipped
    stats.watched_ms += watched
    stats.ratio_sum += ratio
    trusted = batch.trust(body.user_id, body.author_id, at)
    stats.trusted_views += trusted
    stats.trusted_completions += trusted * body.completed
    stats.heat_1h = join(stats.heat_1h, heat_of(1.0, at, HOUR_MS))
    stats.heat_24h = join(stats.heat_24h, heat_of(1.0, at, DAY_MS))
    bucket = batch.changes.buckets.setdefault(bucket_of(duration), BucketStats())
    bucket.views += 1
    bucket.completions += body.completed
    bucket.watched_ms += watched
    bucket.ratio_sum += ratio
    _warm(batch, body, view_weight(watched, ratio), at)


def view_weight(watched_ms: int, ratio: float) -> float:
    """What a view adds to heat, 0 to 2: the share watched, more for longer attention; 15 s watched whole are 1."""
    return ratio * min(math.log1p(watched_ms / 1000) / math.log1p(15), 2.0)


def _warm(batch: Batch, body: Any, weight: float, at_ms: int) -> None:
    viewer_id, video_id = body.user_id, body.video_id
    if batch.repeats or (viewer_id and viewer_id == body.author_id):
        return
    heat = heat_of(weight * max(batch.trust(viewer_id, body.author_id, at_ms), NEWCOMERS_WEIGHT), at_ms, DAY_MS)
    if heat is None:
        return
    viewer = batch.viewers.get(viewer_id, Viewer())
    slices = ["*", f"h:{(at_ms // HOUR_MS + viewer.utc_offset_hours) % 24:02d}"]
    slices += [f"l:{viewer.language}"] * bool(viewer.language) + [f"r:{viewer.region}"] * bool(viewer.region)
    slices += [f"d:{viewer.device}"] * bool(viewer.device)
    for name in slices:
        joined = join(batch.changes.slices.get((video_id, name)), heat)
        if joined is not None:
            batch.changes.slices[video_id, name] = joined


def _like(batch: Batch, event: Event, body: Any) -> None:
    liked = event.WhichOneof("body") == "engagement_video_liked"
    batch.changes.video(body.video_id).likes += 1 if liked else -1
    if liked:
        _warm(batch, body, LIKE_WEIGHT, at_ms_of(event))


def _shared(batch: Batch, event: Event, body: Any) -> None:
    batch.changes.video(body.video_id).shares += 1
    _warm(batch, body, SHARE_WEIGHT, at_ms_of(event))


def _commented(batch: Batch, event: Event, body: Any) -> None:
    batch.changes.video(body.video_id).comments += 1


def _uncommented(batch: Batch, event: Event, body: Any) -> None:
    batch.changes.video(body.video_id).comments -= 1


def _refused(batch: Batch, event: Event, body: Any) -> None:
    batch.changes.video(body.video_id).not_interested += 1


def _served(batch: Batch, event: Event, body: Any) -> None:
    for impression in body.impressions:
        batch.changes.video(impression.video_id).impressions += 1


def _followed(batch: Batch, event: Event, body: Any) -> None:
    change = 1 if event.WhichOneof("body") == "follow_created" else -1
    followers = batch.changes.followers
    followers[body.followee_id] = followers.get(body.followee_id, 0) + change


def _interests(batch: Batch, event: Event, body: Any) -> None:
    known = batch.viewers.get(body.account_id, Viewer())
    if event.entity_version > known.interests_version:
        batch.viewers[body.account_id] = replace(
            known, interests=tuple(body.hashtags), interests_version=event.entity_version
        )
        batch.told.add(body.account_id)


def _gone(batch: Batch, event: Event, body: Any) -> None:
    batch.forgotten.append(body.account_id)


COUNTED: Mapping[str, Callable[[Batch, Event, Any], None]] = {
    "watch_recorded": _watched,
    "engagement_video_liked": _like,
    "engagement_video_unliked": _like,
    "engagement_video_shared": _shared,
    "engagement_comment_added": _commented,
    "engagement_comment_deleted": _uncommented,
    "feed_not_interested": _refused,
    "feed_served": _served,
    "follow_created": _followed,
    "follow_deleted": _followed,
}
"""Events that add to something: each counts once."""

HANDLERS: Mapping[str, Callable[[Batch, Event, Any], None]] = {
    **COUNTED,
    "video_published": _published,
    "video_updated": _updated,
    "video_deleted": _deleted,
    "moderation_video_removed": _deleted,
    "account_interests_set": _interests,
    "account_deleted": _gone,
}

# Whose language and region say where a video is warming.
_WARMING = frozenset({"watch_recorded", "engagement_video_liked", "engagement_video_shared"})
