"""A few made-up rows that every version is tried on before it serves: common, empty and extreme ones."""

from __future__ import annotations

from rank_svc.features.store import Interaction, VideoFacts


def trial_videos() -> list[VideoFacts]:
    """Videos with many tags, with none, and of greatest numbers."""
    return [
        VideoFacts(1, 1, ("trial", "cats"), "en", duration_ms=10_000, has_audio=True),
        VideoFacts(2, 0),
        VideoFacts(2**63 - 1, 2**63 - 1, tuple(f"tag{i}" for i in range(30)), "de-AT", duration_ms=180_000),
    ]


def trial_history() -> tuple[Interaction, ...]:
    """Interactions of all kinds."""
    return (
        Interaction(1, 1, 9_000, 10_000, liked=True, completed=True),
        Interaction(2, 0, 100, 10_000, skipped=True),
        Interaction(2**63 - 1, 2**63 - 1, not_interested=True),
        Interaction(3, 1, 0, 0),
    )
