"""How recent activity must be: for fan-out to push, and for an inbox to be trusted to be pushed to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from feed_svc.settings import FeedSettings

HOUR_MS: Final = 3600 * 1000


@dataclass(frozen=True, slots=True)
class ActivityRules:
    """All in milliseconds. See `docs/adr/0017-fan-out-by-activity.md` for why a video reaches every inbox by these.

    An inbox lasts `push_within_hours` only if it was found, after it began to take pushes and before it was filled by
    pull, that the graph had heard of its viewer lately; fan-out then meets the viewer in the graph for as long as the
    inbox lasts. Any other inbox is brief.
    """

    lasting_ms: int
    """How long an inbox lasts at most."""
    noted_every_ms: int
    """Activity is noted at most once in this time: a viewer who reads now may have been noted so long ago."""
    margin_ms: int
    """Clocks differ, and filling takes a while."""
    settled_ms: int
    """What is this old has reached every replica of the graph, if it has reached any."""

    @classmethod
    def of(cls, settings: FeedSettings) -> ActivityRules:
        """From the service's settings."""
        return cls(
            lasting_ms=settings.push_within_hours * HOUR_MS,
            noted_every_ms=int(settings.activity_every_hours * HOUR_MS),
            margin_ms=int(settings.activity_margin_hours * HOUR_MS),
            settled_ms=settings.brief_inbox_s * 500,
        )

    def is_pushed_to(self, known_at_ms: int, now_ms: int) -> bool:
        """Whether an inbox may last, by the activity that the graph knows of: 0 for none."""
        return now_ms - self.noted_every_ms - self.margin_ms <= known_at_ms <= now_ms - self.settled_ms

    def push_since_ms(self, now_ms: int) -> int:
        """Viewers active since then are pushed to: all whose inbox lasts until now, and a margin."""
        return now_ms - self.lasting_ms - self.noted_every_ms - 2 * self.margin_ms
