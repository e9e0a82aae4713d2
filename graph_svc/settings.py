"""Limits of this service, from `REELGRAPH_GRAPH_*`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from svc_kit.text import name_key


class GraphSettings(BaseSettings):
    """Limits with their units. Engines and secrets are in `PlatformSettings`."""

    model_config = SettingsConfigDict(env_prefix="REELGRAPH_GRAPH_", extra="ignore")

    access_token_s: int = Field(default=600, ge=10)
    refresh_token_s: int = Field(default=30 * 24 * 3600, ge=60)
    """A session ends this long after its last refresh."""
    refresh_retry_s: int = 60
    """How long the same refresh token and idempotency key answer as at first."""
    signing_key_days: int = Field(default=30, ge=1)
    """How long one key signs before the next one takes over."""
    signing_key_lead_s: int = 600
    """How long a key is published before it signs: verifiers have fetched it by then."""
    max_sessions_per_account: int = Field(default=100, ge=1, le=100)
    """A further log-in ends the session that was not used for longest."""

    password_time_cost: int = Field(default=3, ge=1)
    password_memory_kib: int = Field(default=65536, ge=8)
    password_parallelism: int = Field(default=4, ge=1)
    password_threads: int = Field(default=2, ge=1)
    password_queue: int = Field(default=200, ge=1)
    """Log-ins and sign-ups that may wait for a thread; more are refused as UNAVAILABLE."""

    sign_ups_per_address: int = Field(default=200, ge=1)
    log_ins_per_address: int = Field(default=600, ge=1)
    wrong_passwords_per_account: int = Field(default=10, ge=1)
    rate_window_s: int = Field(default=600, ge=1)

    notification_days: int = Field(default=90, ge=1)
    """A wide-row store forgets notifications that are older."""

    ended_follow_days: int = Field(default=30, ge=1)
    """The follow graph forgets a follow that ended longer ago. Older events, which only a replay or a dead letter
    brings, are applied as truth has them, at the cost of reading it."""

    moderator_usernames: str = ""
    """Accounts that moderate, by user name, with commas between. A listed name can't be signed up: list it once its
    account is there."""

    def moderators(self) -> frozenset[str]:
        """The name keys of `moderator_usernames`."""
        return frozenset(name_key(name.strip()) for name in self.moderator_usernames.split(",") if name.strip())
