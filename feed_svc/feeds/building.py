"""Beginning snapshots, and ranking their tails anew after the viewer acted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from feed_svc.feeds.hydration import KnownRelations
from feed_svc.feeds.rules import remembered
from feed_svc.feeds.shelf import Shelf
from feed_svc.feeds.snapshot import Entry, Snapshot
from feed_svc.feeds.store import VideoFacts, ViewerActions
from feed_svc.feeds.tails import Tail, TailBuilder, TailRequest
from feed_svc.feeds.viewers import Viewer
from svc_kit.clock import Clock, now_ms
from svc_kit.ids import IdGenerator

RACES = 3


@dataclass(frozen=True, slots=True)
class ViewerState:
    """What must be right at each page."""

    relations: KnownRelations
    actions: ViewerActions
    is_fresh: bool
    """All of it is of now."""


@dataclass(frozen=True, slots=True)
class Built:
    """A snapshot, with what media_svc said of its videos while it was built."""

    snapshot: Snapshot
    facts: Mapping[int, VideoFacts] = field(default_factory=dict)


class SnapshotBuilder:
    """Makes snapshots from tails and saves them."""

    def __init__(self, tails: TailBuilder, shelf: Shelf, ids: IdGenerator, clock: Clock) -> None:
        self._tails = tails
        self._shelf = shelf
        self._ids = ids
        self._clock = clock

    @property
    def is_degraded(self) -> bool:
        """A new snapshot could not be ranked at the moment."""
        return self._tails.is_degraded

    def popular(self, viewer: Viewer, state: ViewerState) -> Snapshot:
        """A snapshot of popular videos from memory, at no cost; not saved."""
        now = now_ms(self._clock)
        return _with_tail(
            self._empty(viewer, state, now), self._tails.popular(viewer, state.relations.relations), state, now
        )

    async def begin(
        self,
        viewer: Viewer,
        state: ViewerState,
        previous: Snapshot | None,
        without: tuple[int, ...] = (),
        lost: Sequence[Entry] = (),
    ) -> Built:
        """A new snapshot. It becomes the viewer's current one, unless it is not ranked while `previous` is: then the
        caller decides. `lost`: what a snapshot that is gone served last."""
        memory = remembered(previous.memory, previous.served) if previous else remembered((), lost)
        shown = frozenset(entry.video_id for entry in previous.served) if previous else frozenset()
        tail = await self._tails.build(
            TailRequest(
                viewer, state.relations.relations, state.actions.refused, excluded=frozenset(without), shown=shown
            )
        )
        now = now_ms(self._clock)
        empty = replace(self._empty(viewer, state, now, without), memory=memory)
        snapshot = _with_tail(empty, tail, state, now)
        if tail.entries and (tail.is_ranked or previous is None):
            await self._shelf.save(snapshot, None, current=True)
        return Built(snapshot, tail.facts)

    def _empty(self, viewer: Viewer, state: ViewerState, now: int, without: tuple[int, ...] = ()) -> Snapshot:
        return Snapshot(
            id=format(self._ids.next(), "x"),
            owner=viewer.owner,
            version=now,
            created_at_ms=now,
            client=viewer.client,
            made_for=state.actions.version,
            relations=state.relations.digest,
            tail_for=-1,
            tail_relations=0,
            tail_at_ms=now,
            without=without,
        )

    async def refresh(self, viewer: Viewer, state: ViewerState, snapshot: Snapshot) -> Built:
        """The snapshot with a tail ranked for what the viewer did meanwhile; served videos stay as they are. Without a
        ranker the old tail stays, unless nothing is left of it."""
        served = {entry.video_id for entry in snapshot.served}
        tail = await self._tails.build(
            TailRequest(
                viewer,
                state.relations.relations,
                state.actions.refused,
                excluded=frozenset(served.union(snapshot.without)),
                begins=False,
            )
        )
        for _ in range(RACES):
            if not tail.is_ranked and snapshot.tail:
                break
            changed = _with_tail(snapshot, tail, state, now_ms(self._clock))
            if await self._shelf.save(changed, snapshot):
                return Built(changed, tail.facts)
            found = await self._shelf.find(snapshot.owner, snapshot.id)
            if found is None:
                break
            snapshot = found
        return Built(snapshot)


def _with_tail(snapshot: Snapshot, tail: Tail, state: ViewerState, now: int) -> Snapshot:
    served = {entry.video_id for entry in snapshot.served}
    used = {number for entry in snapshot.served for number in (entry.topic, entry.tag)}
    tags = {number: tag for number, tag in snapshot.tags.items() if number in used}
    return replace(
        snapshot,
        version=max(snapshot.version + 1, now),
        tail=tuple(entry for entry in tail.entries if entry.video_id not in served),
        tags={**tags, **tail.tags},
        trials=tail.trials,
        model_version=tail.model_version,
        is_ranked=tail.is_ranked,
        is_whole=tail.is_whole,
        tail_for=state.actions.version,
        tail_relations=state.relations.digest,
        tail_at_ms=now,
    )
