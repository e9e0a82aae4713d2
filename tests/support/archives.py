"""An archive of the platform's events, as Parquet on disk, from a made-up log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

LENGTH_MS = 10_000


def write_archive(folder: Path, interactions: Mapping[str, Sequence[Any]]) -> Path:
    """Videos with the hashtags `even` and `odd`, and who watched them: whole where `long_view` says so. Ids and users
    are those of the log and one more, as 0 is nobody's."""
    events: list[tuple[str, int, dict[str, Any]]] = []
    for item in sorted(set(interactions["item_id"])):
        tags = ["even" if item % 2 == 0 else "odd"]
        facts = {"video_id": str(item + 1), "author_id": str(9000 + item % 5), "hashtags": tags}
        events.append(("video_published", 1, {"video": facts | {"duration_ms": str(LENGTH_MS)}}))
    names = ("user_id", "item_id", "timestamp_ms", "long_view")
    for user, item, at, whole in zip(*(interactions[name] for name in names), strict=True):
        body = {"user_id": str(user + 1), "video_id": str(item + 1), "duration_ms": str(LENGTH_MS)}
        watched = {"watched_ms": str(LENGTH_MS if whole else 900), "completed": bool(whole)}
        events.append(("watch_recorded", at, body | watched))
    rows = [
        {"id": i + 1, "type": kind, "actor_id": 0, "occurred_at_ms": at, "body": json.dumps(body)}
        for i, (kind, at, body) in enumerate(events)
    ]
    part = folder / "events" / "date=2027-01-31" / "topic=mixed"
    part.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), part / "part-0000.parquet")
    return folder
