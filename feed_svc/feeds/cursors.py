"""Cursors: signed places in a feed, bound to their viewer and kind."""

from __future__ import annotations

from dataclasses import dataclass

from svc_kit.errors import invalid
from svc_kit.paging import TokenSigner

FOR_YOU = "FOR_YOU"
FOLLOWING = "FOLLOWING"


@dataclass(frozen=True, slots=True)
class Place:
    """The edge that a cursor belongs to; a page continues after it."""

    kind: str
    """FOR_YOU or FOLLOWING."""
    snapshot_id: str
    position: int
    """Within the snapshot, from 0."""
    video_id: int
    published_at_ms: int = 0
    """Of FOLLOWING alone: its pages continue by time."""


class Cursors:
    """Seals and opens cursors."""

    def __init__(self, signer: TokenSigner) -> None:
        self._signer = signer

    def seal(self, place: Place, binding: str) -> str:
        """The cursor of an edge, valid for one viewer (`Viewer.binding`)."""
        return self._signer.seal(
            place.kind, place.snapshot_id, place.position, place.video_id, place.published_at_ms, bound_to=binding
        )

    def open(self, cursor: str, binding: str, kind: str, *, field: str = "cursor") -> Place:
        """The place of a cursor; raises BAD_USER_INPUT on `field` when it is malformed, forged, another viewer's or of
        another feed."""
        place = self._open(cursor, binding, field)
        if place.kind != kind:
            raise invalid(field, f"This cursor belongs to the feed {place.kind}.")
        return place

    def open_any(self, cursor: str, viewer_id: int, *, field: str = "edge_cursor") -> Place:
        """The place of a cursor of any of a logged-in viewer's feeds; raises as `open`."""
        return self._open(cursor, f"u{viewer_id}", field)

    def _open(self, cursor: str, binding: str, field: str) -> Place:
        kind, snapshot_id, position, video_id, published_at_ms = self._signer.open(
            cursor, bound_to=binding, field=field
        )
        return Place(str(kind), str(snapshot_id), int(position), int(video_id), int(published_at_ms))
