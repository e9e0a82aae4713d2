"""Limits of this service, from `REELGRAPH_FEED_*`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class FeedSettings(BaseSettings):
    """Limits with their units. Engines and secrets are in `PlatformSettings`."""

    model_config = SettingsConfigDict(env_prefix="REELGRAPH_FEED_", extra="ignore")

    # Snapshots.
    tail_candidates: int = Field(default=500, ge=20, le=500)
    """Candidates that wait in the open tail of a snapshot."""
    rank_candidates: int = Field(default=200, ge=10, le=500)
    """Candidates, the best by their sources, sent to the ranker in its one call; the others follow by source."""
    first_page_reuse_s: float = Field(default=300, ge=0)
    """A first page reuses a snapshot younger than this, unless the viewer acted since."""
    snapshot_ttl_s: int = Field(default=24 * 3600, ge=60)
    """How long cursors of a snapshot work."""
    snapshots_per_viewer: int = Field(default=8, ge=1)
    """Snapshots kept in the cache for one viewer and kind; the oldest give way."""
    memory_snapshots: int = Field(default=500, ge=1)
    """Packed snapshots (about 20 KB each) that a process keeps, so that feeds survive the cache."""

    # Deadlines and load.
    source_deadline_ms: int = Field(default=600, ge=1)
    """What each candidate source may take; what is late is left out."""
    ranking_deadline_ms: int = Field(default=600, ge=1)
    relations_deadline_ms: int = Field(default=500, ge=1)
    visibility_deadline_ms: int = Field(default=800, ge=1)
    stale_after_ms: int = Field(default=600, ge=1)
    """A first page waits this long for its build before an older snapshot answers, marked stale."""
    rerank_wait_ms: int = Field(default=400, ge=0)
    """A next page waits this long for a new order after the viewer acted; else it takes the tail as it is."""
    concurrent_builds: int = Field(default=16, ge=1)
    """Builds at once in a process."""
    waiting_builds: int = Field(default=128, ge=0)
    """Builds that may wait for a place; more are shed to stale answers."""
    breaker_failures: int = Field(default=10, ge=1)
    breaker_window_s: float = Field(default=60, gt=0)
    breaker_open_s: float = Field(default=30, gt=0)

    # Rules.
    seen_exact: int = Field(default=1000, ge=1)
    """Newest seen videos kept exactly; older ones in a Bloom filter."""
    seen_days: int = Field(default=30, ge=1)
    """How long a watched video stays out of For You."""
    recent_interactions: int = Field(default=100, ge=1, le=100)
    """Newest watches, likes and refusals that retrieval and ranking are told of."""
    exploration_every: int = Field(default=10, ge=2)
    """One place in this many is for a young video."""
    exploration_growth_share: float = Field(default=0.25, ge=0, le=1)
    """Of those places, for young videos that had their guaranteed impressions and do well, while others wait for
    theirs; all of them when nobody waits."""
    first_videos: int = Field(default=5, ge=0, le=20)
    """The first videos of somebody of whom nothing is known that are chosen to tell tastes apart."""
    author_gap: int = Field(default=3, ge=1)
    """No author twice within this many places, where avoidable."""
    topic_share: float = Field(default=0.5, gt=0, le=1)
    """Greatest share of one topic within a page, where avoidable."""
    young_hours: float = Field(default=48, gt=0)
    """A video is NEW and fresh for this long."""
    freshness: float = Field(default=0.02, ge=0, le=1)
    """What being of just now adds to a candidate's score, where the ranker's values span 0.75: it decides between
    equals. Exploration places are what new videos are promised."""
    curiosity: float = Field(default=0.6, ge=0, le=5)
    """What it adds that the viewer has met little of a candidate's topic: this times the root of the topic's share of
    all candidates, over one and the number of times they met it lately, and the less the more
    videos they finished or liked; 0: nothing."""

    # Fan-out.
    push_within_hours: int = Field(default=24, ge=1)
    """New videos are pushed to followers who read a feed within this time; others pull when they return."""
    activity_every_hours: float = Field(default=6, gt=0)
    """A viewer's activity is written at most once in this time."""
    activity_margin_hours: float = Field(default=1, gt=0)
    """How far clocks of processes may differ, and how long an inbox may take to be filled."""
    brief_inbox_s: int = Field(default=120, ge=2)
    """How long an inbox lasts while the follow graph has not heard that its viewer is active, as right after they came
    back: a video that is published meanwhile may reach them so much later."""
    pull_above_followers: int = Field(default=1_000_000, ge=0)
    """Creators with more followers are not pushed; their followers pull."""
    celebrity_side: Literal["pull", "push"] = "pull"
    """Which side pays for creators above `pull_above_followers`."""
    pull_above_followees: int = Field(default=1000, ge=1)
    """Viewers who follow more accounts have no inbox; they pull."""
    inbox_entries: int = Field(default=500, ge=10)
    """Newest entries kept in an inbox."""
    follower_page: int = Field(default=10_000, ge=1, le=10_000)
    """Followers read at once while fanning out."""
    fanout_window: int = Field(default=50_000, ge=1)
    """Followers whose inboxes are pushed to at once, while as many are read; what a kill costs at most."""
    fanout_concurrency: int = Field(default=4, ge=1)
    """Videos fanned out at once by a process."""

    timeline_gone_days: int = Field(default=30, ge=1)
    """A wide-row store remembers this long that a video was deleted: longer than its events may come again."""

    # Watches.
    max_loops: int = Field(default=10, ge=1)
    """A watch counts at most this many lengths of the video."""
    completed_share: float = Field(default=0.95, gt=0, le=1)
    """Watched from this share of the length on: completed."""
    completed_hint_share: float = Field(default=0.8, gt=0, le=1)
    """With the client's hint, completed from this share on."""
    skipped_below_share: float = Field(default=0.5, ge=0, le=1)
    """The client's hint `skipped` is believed below this share."""
    skipped_below_ms: int = Field(default=1500, ge=0)
    """Skipped without a hint: less than this and less than a quarter of the length."""
    watch_history_days: int = Field(default=365, ge=1)
    """A wide-row store forgets what a viewer watched longer ago."""

    # Impressions and background work.
    spool_entries: int = Field(default=10_000, ge=1)
    """Served pages that may wait for the bus or the database; beyond, the oldest are dropped and counted."""
    popular_entries: int = Field(default=300, ge=10)
    """Videos of the last-resort list that each process keeps in memory."""
    popular_refresh_s: float = Field(default=30, gt=0)

    # Trending.
    trending_half_life_hours: float = Field(default=6, gt=0)
    """What was done this long ago counts half."""
    trending_window_hours: int = Field(default=72, ge=2)
    """Older acts count nothing; what was kept of them is removed."""
    trending_full_view_s: float = Field(default=60, gt=1)
    """A whole view of a video this long counts one; of a shorter one less, by the logarithm of the time."""
    trending_like: float = Field(default=2, ge=0)
    """Whole views that a like is worth; so for comments and shares."""
    trending_comment: float = Field(default=3, ge=0)
    trending_share: float = Field(default=4, ge=0)
    trending_newcomer: float = Field(default=1, gt=0)
    """Whole views that each public video begins with at its publication."""
    trending_grown_account_hours: float = Field(default=72, ge=0)
    """From this age on what an account does counts whole; before, by the square of its age, and the rest as a
    newcomer's; 0: always whole."""
    trending_newcomers: float = Field(default=5, ge=0)
    """Whole views by newcomers that a video is credited with at most within a quarter of an hour, beside as many as
    established accounts gave it."""
    trending_entries: int = Field(default=1000, ge=10)
    """Length of the list."""
    trending_refresh_s: float = Field(default=2, ge=0)
    """How old the list that a process keeps may be."""
    trending_snapshot_ttl_s: int = Field(default=3600, ge=60)
    """How long pages of one token chain come from the same list."""
    viral_views_an_hour: int = Field(default=1000, ge=1)
    """A video with more views within an hour is viral."""
    viral_top_share: float = Field(default=0.01, gt=0, le=1)
    """So are this share of an hour's viewed videos, the most viewed, if there are enough of both:"""
    viral_least_views: int = Field(default=100, ge=1)
    viral_least_videos: int = Field(default=100, ge=1)
    viral_check_s: float = Field(default=15, gt=0)

    # Search.
    search_depth: int = Field(default=1000, ge=10)
    """Results beyond this number are not looked for."""
    search_popularity_refresh_s: float = Field(default=60, gt=0)
    """How often views and followers are taken over into the index."""

    # Experiments.
    experiments_file: Path | None = None
    """JSON file that declares experiments, see docs/experiments.md; without it there are none."""
    experiments_check_s: float = Field(default=900, gt=0)
    """How often guardrails are looked at; each look reads the archive since the experiment's first exposure."""

    # Archive.
    archive_url: str = ""
    """Where the archive lies, `file://` or `s3://`; empty: where REELGRAPH_BLOBS_URL says, below `events/`, else in the
    data folder."""
    archive_flush_events: int = Field(default=5000, ge=1)
    """So many events are written at once, or fewer after `archive_flush_s`."""
    archive_flush_s: float = Field(default=60, ge=0)
