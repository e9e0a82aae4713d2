"""What a reported watch can be: how much of it is possible, and what its hints are worth."""

from __future__ import annotations

from dataclasses import dataclass

from feed_svc.settings import FeedSettings

CLOCK_SKEW_MS = 60_000


@dataclass(frozen=True, slots=True)
class Judged:
    """A watch as it counts."""

    watched_ms: int
    completed: bool
    skipped: bool


def judge(
    watched_ms: int,
    *,
    duration_ms: int,
    age_ms: int,
    completed_hint: bool,
    skipped_hint: bool,
    settings: FeedSettings,
) -> Judged:
    """Cap `watched_ms` by `max_loops` lengths of the video and by the video's age (nobody watches it for longer than it
    exists), then decide: completed from `completed_share` of the length on, with the hint from `completed_hint_share`
    on; skipped never when completed, else with the hint below `skipped_below_share`, without it below
    `skipped_below_ms` and a quarter of the length."""
    watched = max(0, min(watched_ms, settings.max_loops * duration_ms, age_ms + CLOCK_SKEW_MS))
    share = watched / duration_ms if duration_ms else 0.0
    completed = share >= (settings.completed_hint_share if completed_hint else settings.completed_share)
    early = watched < settings.skipped_below_ms and share < 0.25
    skipped = not completed and (early or (skipped_hint and share < settings.skipped_below_share))
    return Judged(watched, completed, skipped)
