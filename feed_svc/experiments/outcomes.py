"""What viewers did after they met an experiment, from the archive's events: one value a viewer and metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from feed_svc.feeds.store import ClientHints
from feed_svc.feeds.viewers import Viewer
from reelgraph.events.v1.event_pb2 import Event

TOPICS = ("feed", "watch", "engagement")


@dataclass(slots=True)
class Outcome:
    """One viewer within the experiment's window."""

    arm: str
    exposed_at_ms: int
    watches: int = 0
    watched_ms: int = 0
    completed: int = 0
    skipped: int = 0
    likes: int = 0
    refusals: int = 0
    pages: int = 0
    stale_pages: int = 0


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of one viewer. A viewer without any watch (or page) has a rate of 0: leaving them out would compare
    those whom the arm made watch."""

    of: Callable[[Outcome], float]
    more_is_better: bool


METRICS: Mapping[str, Metric] = {
    "watch_minutes": Metric(lambda o: o.watched_ms / 60_000, True),
    "watches": Metric(lambda o: o.watches, True),
    "completion_rate": Metric(lambda o: o.completed / max(1, o.watches), True),
    "likes": Metric(lambda o: o.likes, True),
    "skip_rate": Metric(lambda o: o.skipped / max(1, o.watches), False),
    "not_interested_rate": Metric(lambda o: o.refusals / max(1, o.watches), False),
    "stale_share": Metric(lambda o: o.stale_pages / max(1, o.pages), False),
}


class Outcomes:
    """Outcomes of one experiment by owner. First all exposures are taken, then what followed, each in any order."""

    def __init__(self, experiment: str, window_ms: int) -> None:
        self._experiment = experiment
        self._window_ms = window_ms
        self.by_owner: dict[str, Outcome] = {}

    def take_exposures(self, event: Event) -> None:
        """One event of the topic `feed`."""
        if event.WhichOneof("body") != "feed_exposed":
            return
        it = event.feed_exposed
        if it.experiment != self._experiment:
            return
        known = self.by_owner.get(it.owner)
        if known is None or it.exposed_at_ms < known.exposed_at_ms:
            self.by_owner[it.owner] = Outcome(it.arm, it.exposed_at_ms)

    def take(self, event: Event) -> None:
        """One event of `TOPICS`."""
        outcome = self.by_owner.get(_owner(event))
        if outcome is None or not 0 <= event.occurred_at.ToMilliseconds() - outcome.exposed_at_ms < self._window_ms:
            return
        match event.WhichOneof("body"):
            case "watch_recorded":
                outcome.watches += 1
                outcome.watched_ms += event.watch_recorded.watched_ms
                outcome.completed += event.watch_recorded.completed
                outcome.skipped += event.watch_recorded.skipped
            case "feed_served" if event.feed_served.feed_kind == "FOR_YOU":
                outcome.pages += 1
                outcome.stale_pages += event.feed_served.stale
            case "engagement_video_liked":
                outcome.likes += 1
            case "feed_not_interested":
                outcome.refusals += 1
            case _:
                pass

    def complete(self, now_ms: int) -> Iterable[Outcome]:
        """Those whose window is over, in the order in which it ended."""
        done = [o for o in self.by_owner.items() if o[1].exposed_at_ms + self._window_ms <= now_ms]
        return (outcome for _, outcome in sorted(done, key=lambda item: (item[1].exposed_at_ms, item[0])))


def _owner(event: Event) -> str:
    if event.actor_id:
        return f"u{event.actor_id}"
    if event.WhichOneof("body") == "feed_served" and event.feed_served.client_id:
        return Viewer(0, ClientHints(client_id=event.feed_served.client_id)).owner
    return ""
