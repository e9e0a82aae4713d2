"""A viewer's history: merging what is stored with what was reported a moment ago, and what an interaction says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rank_svc.features.store import Interaction

GLANCE = 0.25
"""The share watched that says neither yes nor no."""
APPEAL = {
    "watch_ratio": 1.0,
    "liked": 1.0,
    "completed": 0.5,
    "shared": 1.0,
    "commented": 0.5,
    "skipped": -0.75,
    "not_interested": -3.0,
}
"""Weights of `appeal`, by signal; the base version's user tower has the same ones."""
HALF_LIFE_HOURS = 168.0
"""An interaction counts half after a week."""


def merge(*histories: Iterable[Interaction], limit: int) -> tuple[Interaction, ...]:
    """One history of several, newest first, each video once, at most `limit`.

    Of one video the latest watch counts, and what was done once (liked, finished, not interested) stays done: a report
    of a watch says nothing about a like.
    """
    merged: dict[int, Interaction] = {}
    for interaction in (i for history in histories for i in history):
        known = merged.get(interaction.video_id)
        merged[interaction.video_id] = interaction if known is None else _join(known, interaction)
    return tuple(sorted(merged.values(), key=lambda i: (-i.at_ms, -i.video_id))[:limit])


def lay(known: Interaction | None, now: Interaction) -> Interaction:
    """What an event says, laid over what is known of its video: the latest watch, the highest version of a like, all
    that was ever done. In whatever order and however often events are laid, the outcome is the same."""
    if known is None:
        return now
    watch = now if now.watched_at_ms and now.watched_at_ms >= known.watched_at_ms else known
    like = now if now.like_version > known.like_version else known
    return replace(
        known,
        author_id=known.author_id or now.author_id,
        watched_ms=watch.watched_ms,
        duration_ms=watch.duration_ms,
        skipped=watch.skipped,
        watched_at_ms=watch.watched_at_ms,
        at_ms=max(known.at_ms, now.at_ms),
        liked=like.liked,
        like_version=like.like_version,
        completed=known.completed or now.completed,
        not_interested=known.not_interested or now.not_interested,
        shared=known.shared or now.shared,
        commented=known.commented or now.commented,
    )


def _join(a: Interaction, b: Interaction) -> Interaction:
    later, earlier = (a, b) if a.at_ms >= b.at_ms else (b, a)
    watched = later if later.watched_ms or later.skipped else earlier
    return replace(
        later,
        author_id=later.author_id or earlier.author_id,
        watched_ms=watched.watched_ms,
        duration_ms=watched.duration_ms or earlier.duration_ms,
        skipped=watched.skipped,
        liked=a.liked or b.liked,
        completed=a.completed or b.completed,
        not_interested=a.not_interested or b.not_interested,
        shared=a.shared or b.shared,
        commented=a.commented or b.commented,
    )


def ratio(interaction: Interaction) -> float:
    """The share of the length that was watched, 0 to 1."""
    if interaction.duration_ms <= 0:
        return 1.0 if interaction.completed else 0.0
    return min(max(interaction.watched_ms / interaction.duration_ms, 0.0), 1.0)


def appeal(interaction: Interaction) -> float:
    """How much the viewer took to the video: positive yes, negative no."""
    watched = APPEAL["watch_ratio"] * (ratio(interaction) - GLANCE) if interaction.watched_ms else 0.0
    flags = ("liked", "completed", "shared", "commented", "skipped", "not_interested")
    return watched + sum(APPEAL[name] for name in flags if getattr(interaction, name))


def decayed(interaction: Interaction, now_ms: int) -> float:
    """`appeal`, halved for every HALF_LIFE_HOURS of age."""
    age_hours = max(now_ms - interaction.at_ms, 0) / 3_600_000
    return appeal(interaction) * float(2.0 ** (-age_hours / HALF_LIFE_HOURS))


def loved(interaction: Interaction) -> bool:
    """Liked or watched to the end, and not refused since."""
    return (interaction.liked or interaction.completed) and not interaction.not_interested
