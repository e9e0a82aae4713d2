"""Presentation: why a video is in a feed. Always true, and of public actions only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from feed_svc.feeds.sources import (
    AGAIN,
    FRIENDS,
    INBOX,
    NEW,
    POPULAR,
    SIMILAR_VIDEO,
    SIMILAR_VIEWERS,
    TASTE,
    TRENDING,
    Merged,
)
from feed_svc.feeds.taste import Taste
from feed_svc.feeds.viewers import language_of


class ReasonKind(IntEnum):
    """As `reelgraph.feed.v1.FeedReasonKind`."""

    FOLLOWED = 1
    FRIENDS = 2
    TRENDING = 3
    FOR_YOUR_TASTE = 4
    SIMILAR_VIEWERS = 5
    SIMILAR_VIDEO = 6
    NEW = 7
    POPULAR_NEAR_YOU = 8
    WATCH_AGAIN = 9


@dataclass(frozen=True, slots=True)
class Reason:
    """Why."""

    kind: ReasonKind
    seed_video_id: int = 0
    hashtag: str = ""


NEAR_SIGNALS = frozenset({"language", "region"})
MANY_SIGNALS = frozenset({"popular", "hour", "device"})
"""What a cold start says when many watch a video, all in all, at this hour or on this kind of device."""


def reason_for(
    video: Merged,
    *,
    followed: bool,
    taste: Taste,
    language: str,
    viewer_language: str,
    is_young: bool,
    hot_above: float = 0.0,
) -> Reason:
    """The strongest true reason of a video: its author is followed, a friend liked it, else what its best source says,
    as far as that is known to hold for this viewer. `hot_above`: what trending gives a video that nobody watched."""
    is_hot = video.heat > hot_above
    is_young = is_young or video.trial is not None
    if video.source == AGAIN:
        return Reason(ReasonKind.WATCH_AGAIN)
    if followed:
        return Reason(ReasonKind.FOLLOWED)
    if FRIENDS in video.offered_by:
        return Reason(ReasonKind.FRIENDS)
    if video.source == SIMILAR_VIDEO and video.seed_video_id:
        return Reason(ReasonKind.SIMILAR_VIDEO, seed_video_id=video.seed_video_id)
    if video.source == SIMILAR_VIEWERS and taste.is_known:
        return Reason(ReasonKind.SIMILAR_VIEWERS)
    match = taste.match(video.hashtags)
    if video.source == TASTE and taste.is_known:
        return Reason(ReasonKind.FOR_YOUR_TASTE, hashtag=match)
    if video.source in (TRENDING, POPULAR) and is_hot:
        return Reason(ReasonKind.TRENDING)
    if match and video.source != NEW:
        return Reason(ReasonKind.FOR_YOUR_TASTE, hashtag=match)
    if video.source in (NEW, INBOX) and is_young:
        return Reason(ReasonKind.NEW)
    if video.signal in NEAR_SIGNALS:
        return Reason(ReasonKind.POPULAR_NEAR_YOU)
    if video.signal in MANY_SIGNALS:
        return Reason(ReasonKind.TRENDING)
    if language and language_of(language) == language_of(viewer_language):
        return Reason(ReasonKind.POPULAR_NEAR_YOU)
    if is_hot:
        return Reason(ReasonKind.TRENDING)
    return Reason(ReasonKind.NEW if is_young else ReasonKind.POPULAR_NEAR_YOU)
