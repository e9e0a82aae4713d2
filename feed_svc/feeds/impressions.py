"""What was shown, for training: one event a page, on its way through a spool."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from feed_svc.feeds.rules import Picked
from feed_svc.feeds.sources import SOURCES, YOUNG
from feed_svc.feeds.spool import Spool
from feed_svc.feeds.viewers import Viewer
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.feed_pb2 import FeedServed
from svc_kit.bus.port import Record
from svc_kit.clock import Clock
from svc_kit.errors import AppError
from svc_kit.ids import IdGenerator
from svc_kit.telemetry import current_request_id, log

_log = log(__name__)


@dataclass(frozen=True, slots=True)
class ServedPart:
    """What a page served for the first time."""

    kind: str
    snapshot_id: str
    first_position: int
    picked: Sequence[Picked]
    model_version: str
    experiment: str = ""
    """`name=arm`, several with commas between."""
    is_stale: bool = False


class Impressions:
    """Writes `feed.served`. Never blocks and never fails a page."""

    def __init__(self, spool: Spool[Record], ids: IdGenerator, clock: Clock) -> None:
        self._spool = spool
        self._ids = ids
        self._clock = clock

    def served(self, viewer: Viewer, part: ServedPart) -> None:
        """A page was served."""
        if not part.picked:
            return
        try:
            self._spool.put(self._record(viewer, part))
        except AppError as error:
            # No ids while the clock is behind: a page matters more than its impressions.
            _log.warning("impressions lost", reason=error.reason.value)

    def _record(self, viewer: Viewer, part: ServedPart) -> Record:
        body = FeedServed(
            user_id=viewer.id,
            client_id="" if viewer.id else viewer.client.client_id,
            feed_kind=part.kind,
            snapshot_id=part.snapshot_id,
            model_version=part.model_version,
            experiment=part.experiment,
            stale=part.is_stale,
        )
        for place, picked in enumerate(part.picked, part.first_position):
            entry = picked.entry
            body.impressions.add(
                impression_id=self._ids.next(),
                video_id=entry.video_id,
                author_id=entry.author_id,
                position=place,
                source=SOURCES[entry.source & ~YOUNG],
                score=entry.score,
                propensity=picked.propensity,
            )
        entity = f"page:{part.snapshot_id}:{part.first_position}"
        event = Event(
            id=self._ids.next(),
            actor_id=viewer.id,
            entity=entity,
            entity_version=1,
            request_id=current_request_id(),
            feed_served=body,
        )
        event.occurred_at.FromDatetime(self._clock.now())
        # Nobody is logged in: the installation spreads them over partitions.
        key = viewer.id or zlib.crc32(viewer.owner.encode())
        return Record("feed", key, event.id, entity, event.SerializeToString())
