"""What acts are worth, and how worth decays: pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from feed_svc.settings import FeedSettings
from feed_svc.trending.store import Act, Bucket, TrendingVideo
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.video_pb2 import VideoFacts
from reelgraph.events.v1.watch_pb2 import WatchRecorded
from svc_kit.trust import damped, trust

BUCKET_MS = 15 * 60_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
BUCKETS_AN_HOUR = HOUR_MS // BUCKET_MS
MILLI = 1000


@dataclass(frozen=True, slots=True)
class Weights:
    """What is worth how much, in whole views; times in their units."""

    full_view_s: float
    like: float
    comment: float
    share: float
    newcomer: float
    half_life_ms: float
    window_ms: int
    grown_ms: int
    newcomers: float
    """Of new accounts, within one bucket of one video, beside as much as established ones did."""

    @classmethod
    def of(cls, settings: FeedSettings) -> Weights:
        """As set."""
        return cls(
            settings.trending_full_view_s,
            settings.trending_like,
            settings.trending_comment,
            settings.trending_share,
            settings.trending_newcomer,
            settings.trending_half_life_hours * HOUR_MS,
            settings.trending_window_hours * HOUR_MS,
            int(settings.trending_grown_account_hours * HOUR_MS),
            settings.trending_newcomers,
        )


def bucket_of(at_ms: int) -> int:
    """The number of the unit of time that holds this moment."""
    return at_ms // BUCKET_MS


def view_worth(watched_ms: int, duration_ms: int, full_view_s: float) -> float:
    """What a view is worth: the share watched (at most once through) times the logarithm of the time watched against
    that of a full view. A 3 s clip watched whole is worth 0.34, a 60 s one 1, 3 s of a 60 s one 0.02."""
    if duration_ms <= 0 or watched_ms <= 0:
        return 0.0
    watched = min(watched_ms, duration_ms)
    seconds = min(watched / 1000, full_view_s)
    return watched / duration_ms * math.log1p(seconds) / math.log1p(full_view_s)


def acts_of(event: Event, weights: Weights) -> Sequence[Act]:
    """What an event contributes. Nothing: what authors do with their own videos.

    Each watch is a view, but of the watches of an account and video within a day the best one alone has worth; of its
    shares within a day, one: nobody makes a video trend by themselves.
    """
    if event.WhichOneof("body") == "watch_recorded":
        return _watch(event, event.watch_recorded, weights)
    act = _engagement(event, weights)
    return [act] if act else ()


def _engagement(event: Event, weights: Weights) -> Act | None:
    match event.WhichOneof("body"):
        case "engagement_video_liked":
            liked = event.engagement_video_liked
            worth = weights.like if liked.user_id != liked.author_id else 0
            return _act(event, liked.video_id, worth, _trust(event, liked.user_id, weights))
        case "engagement_video_unliked":
            return _act(event, event.engagement_video_unliked.video_id, 0)
        case "engagement_comment_added":
            added = event.engagement_comment_added
            worth = weights.comment if added.author_id != added.video_author_id else 0
            return _act(event, added.video_id, worth, _trust(event, added.author_id, weights))
        case "engagement_comment_deleted":
            return _act(event, event.engagement_comment_deleted.video_id, 0)
        case "engagement_video_shared":
            shared = event.engagement_video_shared
            worth = weights.share if shared.user_id != shared.author_id else 0
            act = _act(event, shared.video_id, worth, _trust(event, shared.user_id, weights))
            return _once_a_day(act, "shared", shared.user_id)
    return None


def _watch(event: Event, watch: WatchRecorded, weights: Weights) -> Sequence[Act]:
    if watch.user_id == watch.author_id:
        return ()
    worth = 0.0 if watch.skipped else view_worth(watch.watched_ms, watch.duration_ms, weights.full_view_s)
    view = _act(event, watch.video_id, 0, views=1)
    worthy = _act(event, watch.video_id, worth, _trust(event, watch.user_id, weights))
    return [view, _once_a_day(worthy, "watched", watch.user_id)] if worth else [view]


def _once_a_day(act: Act, verb: str, account_id: int) -> Act:
    """The act under a name that all of its kind by an account share for a day. The one with the most worth has the
    highest version, of equal ones the earliest: whatever comes first, the same one is counted."""
    day = act.bucket * BUCKET_MS // DAY_MS
    worth = act.weight_milli + act.fresh_milli
    version = (worth << 32) + (1 << 32) - 1 - act.bucket % (1 << 32)
    return replace(act, entity=f"{verb}:{account_id}:{act.video_id}:{day}", version=version)


def _trust(event: Event, account_id: int, weights: Weights) -> float:
    return trust(account_id, event.occurred_at.ToMilliseconds(), weights.grown_ms)


def _act(event: Event, video_id: int, worth: float, trusted: float = 1.0, views: int = 0) -> Act:
    bucket = bucket_of(event.occurred_at.ToMilliseconds())
    whole, weight = round(worth * MILLI), round(worth * trusted * MILLI)
    return Act(event.entity, event.entity_version, video_id, bucket, views, weight, whole - weight)


def bucket_worth(bucket: Bucket, weights: Weights) -> float:
    """What was done within one bucket, in whole views. A burst of new accounts counts no more than
    `weights.newcomers` and as much as established ones did meanwhile."""
    return damped(max(bucket.weight_milli, 0) / MILLI, max(bucket.fresh_milli, 0) / MILLI, weights.newcomers)


def video_of(event: Event) -> TrendingVideo | None:
    """What an event says of a published video."""
    version = event.entity_version
    match event.WhichOneof("body"):
        case "video_published":
            return _video(event.video_published.video, version)
        case "video_updated":
            return _video(event.video_updated.video, version)
        case "video_deleted":
            return TrendingVideo(event.video_deleted.video_id, event.video_deleted.author_id, version, shown=False)
    return None


def _video(facts: VideoFacts, version: int) -> TrendingVideo:
    shown = facts.visibility == "PUBLIC"
    return TrendingVideo(facts.video_id, facts.author_id, version, shown, facts.published_at_ms)


def rank_of(published_at_ms: int, buckets: Sequence[Bucket], weights: Weights) -> float:
    """log2 of what a video's publication and acts are worth, each halved once a half-life, plus half-lives since 1970.
    Two ranks compare alike at any time, so nothing has to be computed again while time passes."""
    half_life = weights.half_life_ms
    terms = [(published_at_ms / half_life, weights.newcomer)]
    worths = ((b, bucket_worth(b, weights)) for b in buckets)
    terms += [(b.bucket * BUCKET_MS / half_life, worth) for b, worth in worths if worth > 0]
    latest = max(moment for moment, _ in terms)
    return latest + math.log2(sum(worth * math.exp2(moment - latest) for moment, worth in terms))


def score_at(rank: float, now_ms: int, weights: Weights) -> float:
    """The score that a rank stands for at a moment, in whole views of just now."""
    return math.exp2(max(-1000.0, min(1000.0, rank - now_ms / weights.half_life_ms)))


def viral_among(views: Sequence[tuple[int, int]], settings: FeedSettings) -> list[tuple[int, int]]:
    """Which of an hour's viewed videos (id and views, most viewed first) are viral: over the setting, or among the top
    share when there are enough videos and views."""
    top = int(len(views) * settings.viral_top_share) if len(views) >= settings.viral_least_videos else 0
    return [
        (video_id, count)
        for place, (video_id, count) in enumerate(views)
        if count > settings.viral_views_an_hour or (place < top and count >= settings.viral_least_views)
    ]
