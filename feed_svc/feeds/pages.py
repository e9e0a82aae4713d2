"""Taking a page from a snapshot: what is frozen first, then the best and most varied of the tail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from feed_svc.feeds.hydration import Hydrator
from feed_svc.feeds.reasons import ReasonKind
from feed_svc.feeds.rules import Barred, Picked, Variety, is_again, pick
from feed_svc.feeds.snapshot import Entry, Snapshot
from feed_svc.feeds.store import VideoFacts
from svc_kit.errors import AppError

MOST_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page of a snapshot, and for whom."""

    viewer_id: int
    start: int
    size: int
    barred: Barred
    """May not be shown at all."""
    seen: AbstractSet[int] = frozenset()
    """Watched since the tail was ranked: not taken from it."""
    skip_seen_served: bool = False
    """Leave out what was served and is `seen`, too: a first page of an old snapshot."""
    variety: Variety | None = None
    """Instead of the settings', for a viewer in an experiment."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """A page, and the snapshot after it."""

    places: list[tuple[int, Entry]]
    """Position within the snapshot and video."""
    picked: list[Picked]
    """What was taken from the tail, the last of `places`."""
    after: Snapshot
    has_next: bool
    is_verified: bool

    @property
    def is_changed(self) -> bool:
        """Whether `after` must be saved."""
        return bool(self.picked)


class PageTaker:
    """Takes pages. Only videos that media_svc shows to this viewer now are on one; while it is down, what this service
    knows of public ones."""

    def __init__(self, hydrator: Hydrator, variety: Variety, now_ms: Callable[[], int]) -> None:
        self._hydrator = hydrator
        self._variety = variety
        self._now_ms = now_ms

    async def take(self, snapshot: Snapshot, request: PageRequest, facts: Mapping[int, VideoFacts]) -> Assembled:
        """A page from `request.start` on. `facts` were asked for this very request already."""
        known, asked, verified = dict(facts), set(facts), True
        for _ in range(MOST_ROUNDS):
            frozen, tail = self._eligible(snapshot, request)
            frozen = [(position, entry) for position, entry in frozen if _stands(entry, known, asked)]
            tail = [entry for entry in tail if _stands(entry, known, asked)]
            ahead, picks = self._ahead(snapshot, request, frozen, tail)
            unknown = [entry.video_id for entry in ahead if entry.video_id not in asked]
            if not unknown:
                break
            try:
                visible = await self._hydrator.visible(request.viewer_id, unknown)
            except AppError:
                # The gateway's own check is the last one; an empty feed would help nobody.
                verified = False
                break
            asked.update(unknown)
            verified &= visible.is_verified
            known |= {v: f for v, f in visible.facts.items() if f.is_public}
            if all(video_id in known for video_id in unknown):
                break
        return self._assemble(snapshot, request, frozen, tail, picks, asked - known.keys(), verified)

    def _eligible(self, snapshot: Snapshot, request: PageRequest) -> tuple[list[tuple[int, Entry]], list[Entry]]:
        frozen = [
            (position, entry)
            for position, entry in enumerate(snapshot.served[request.start :], request.start)
            if request.barred.allows(entry) and not (request.skip_seen_served and entry.video_id in request.seen)
        ]
        tail = [
            entry
            for entry in snapshot.tail
            if request.barred.allows(entry) and (entry.video_id not in request.seen or is_again(entry))
        ]
        return frozen, tail

    def _ahead(
        self, snapshot: Snapshot, request: PageRequest, frozen: list[tuple[int, Entry]], tail: list[Entry]
    ) -> tuple[list[Entry], list[Picked]]:
        """The page and some spare ones, before their visibility is known, and those of them that are from the tail."""
        wanted = request.size + max(3, request.size // 3)
        ahead = [entry for _, entry in frozen[:wanted]]
        picks = self._pick(snapshot, request, tail, ahead, wanted - len(ahead)) if len(ahead) < wanted else []
        return [*ahead, *(p.entry for p in picks)], picks

    def _pick(
        self, snapshot: Snapshot, request: PageRequest, tail: list[Entry], on_page: list[Entry], count: int
    ) -> list[Picked]:
        return pick(
            tail,
            snapshot.served,
            on_page,
            count,
            page_size=request.size,
            variety=request.variety or self._variety,
            seed=snapshot.id,
            barred=request.barred,
            trials=snapshot.trials,
            memory=snapshot.memory,
        )

    def _assemble(
        self,
        snapshot: Snapshot,
        request: PageRequest,
        frozen: list[tuple[int, Entry]],
        tail: list[Entry],
        picks: list[Picked],
        invisible: AbstractSet[int],
        verified: bool,
    ) -> Assembled:
        frozen = [(position, entry) for position, entry in frozen if entry.video_id not in invisible]
        tail = [entry for entry in tail if entry.video_id not in invisible]
        places = frozen[: request.size]
        # Each pick follows from those before it, so the page takes the first of them.
        picks = [p for p in picks if p.entry.video_id not in invisible]
        picked = [_explained(p) for p in picks[: request.size - len(places)]]
        first = len(snapshot.served)
        places += [(first + i, p.entry) for i, p in enumerate(picked)]
        dropped = (
            frozenset(entry.video_id for entry in snapshot.tail if entry.video_id in invisible) if verified else ()
        )
        entries = [p.entry for p in picked]
        return Assembled(
            places,
            picked,
            snapshot.freeze(entries, frozenset(dropped), self._now_ms()) if picked else snapshot,
            has_next=len(frozen) > request.size or len(tail) > len(picked),
            is_verified=verified,
        )


def _stands(entry: Entry, known: Mapping[int, VideoFacts], asked: AbstractSet[int]) -> bool:
    return entry.video_id in known or entry.video_id not in asked


def _explained(picked: Picked) -> Picked:
    """An exploration place says so, unless something stronger is true."""
    strong = (ReasonKind.FOLLOWED, ReasonKind.WATCH_AGAIN)
    if not picked.explored or picked.entry.reason in strong:
        return picked
    entry = picked.entry._replace(reason=int(ReasonKind.NEW), seed_id=0, tag=0)
    return Picked(entry, picked.propensity, picked.explored)
