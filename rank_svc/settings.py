"""Limits and weights of this service, from `REELGRAPH_RANK_*`."""

from __future__ import annotations

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class RankSettings(BaseSettings):
    """Limits with their units. Engines and secrets are in `PlatformSettings`."""

    model_config = SettingsConfigDict(env_prefix="REELGRAPH_RANK_", extra="ignore", populate_by_name=True)

    compute_threads: int = Field(default=2, ge=1)
    """Threads for model calls and vector search, together."""

    # Value of a candidate: the weighted sum in `ranking/value.py`.
    weight_like: float = 1.0
    weight_comment: float = 1.5
    weight_share: float = 2.0
    weight_completion: float = 1.0
    weight_watch: float = 1.0
    """Of the watch time against that of other videos of the same length, from 0 to 1."""
    weight_negative: float = -3.0
    """Of `not interested` or an early swipe."""
    weight_affinity: float = 0.5
    """Of the cosine of viewer and video, where both are known."""

    feature_cache_s: float = Field(default=1.0, ge=0)
    """How old a video's features may be when they are read for ranking."""
    feature_cache_items: int = Field(default=50_000, ge=1)
    history_days: int = Field(default=90, ge=1)
    """A wide-row store forgets what a viewer did longer ago."""

    grown_account_hours: float = Field(default=72, ge=0)
    """From this age on an account's watches, likes and shares count whole in popular lists and trials; before, by the
    square of its age; 0: always."""
    newcomers_allowance: float = Field(default=20, ge=0)
    """Watches of one young video by new accounts that its trial counts at most, beside as many as established ones'."""

    guaranteed_impressions: int = Field(default=100, ge=0)
    """What the places for young videos give each new public one, as far as there are so many: fewest first."""
    trial_impressions: int = Field(default=1000, ge=0)
    """Beyond the guarantee a young video is offered as NEW until it had this many, by how its first viewers took it."""
    young_days: float = Field(default=7, gt=0)
    similar_seeds: int = Field(default=5, ge=1, le=50)
    """How many of the videos liked or finished last are looked around for SIMILAR_VIDEO."""
    similar_viewers: int = Field(default=50, ge=1)
    """How many viewers of near taste are asked for SIMILAR_VIEWERS."""
    similar_viewer_cosine: float = Field(default=0.5, ge=-1, le=1)
    """The least likeness of a viewer that counts as one of near taste."""
    viewer_index_size: int = Field(default=50_000, ge=0)
    """Most viewers kept for SIMILAR_VIEWERS; who was active longest ago goes first."""
    popular_pool: int = Field(default=500, ge=1)
    """Length of each list of popular, young and new videos that cold start and NEW draw from."""
    popular_cache_s: float = Field(default=5.0, ge=0)

    refresh_s: float = Field(default=0.5, gt=0)
    """How often a replica looks for new, changed and deleted videos."""
    viewer_refresh_s: float = Field(default=2.0, gt=0)
    """How often a replica looks for viewers whose history changed."""
    refresh_overlap_s: float = Field(default=10.0, ge=0)
    """How far back it looks again, for rows that were committed late."""
    model_check_s: float = Field(default=5.0, gt=0)
    """How often a replica looks whether another model version should serve."""
    recall_probe_s: float = Field(default=60.0, gt=0)
    recall_probe_queries: int = Field(default=20, ge=1)
    recall_probe_k: int = Field(default=100, ge=1)

    versions_kept: int = Field(default=5, ge=0)
    """Versions of models that are kept beside those that serve, should serve or did before."""
    promote_least_users: int = Field(default=50, ge=1)
    """Users with newest rows below which a shadow evaluation tells nothing."""
    promote_margin_errors: float = Field(default=2.0, ge=0)
    """A version is worse when it is below the serving one by more than so many standard errors."""
    model_settle_s: float = Field(default=15.0, ge=0)
    """Where several processes serve: how long a loaded version waits before it serves, so that each replica holds it
    before the first one answers by it. More than `model_check_s` and the time that loading takes."""
    replica_report_s: float = Field(default=10.0, gt=0)
    """How often a replica says in the database what it serves and how it does."""

    train_every_hours: float = Field(default=0, ge=0)
    """A version is trained this often, by the role `workers`; 0: not by time."""
    train_events: int = Field(default=0, ge=0)
    """A version is trained after so many more watches; 0: not by number."""
    train_archive: str = Field(
        default="", validation_alias=AliasChoices("REELGRAPH_RANK_TRAIN_ARCHIVE", "REELGRAPH_FEED_ARCHIVE_URL")
    )
    """Folder or URL of the archive that is trained on; empty: where REELGRAPH_FEED_ARCHIVE_URL says, else with the
    blobs, else in the data folder."""
    train_cpu_s: int = Field(default=3600, ge=1)
    """Seconds of processor time of one run, shadow evaluation included."""
    train_memory_mb: int = Field(default=6144, ge=1)
    """Memory of one run, in MiB."""
    train_wall_s: float = Field(default=4 * 3600, gt=0)
    """A run is ended after so many seconds by the clock."""
    train_hold_out: float = Field(default=0.1, gt=0, lt=1)
    """The newest share of the log that is not trained on: the new version and the serving one are compared on it."""
    train_options: str = ""
    """`NAME=VALUE` of `rank_svc/train/options.py`, comma-separated."""
