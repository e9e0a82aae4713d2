"""A snapshot: what has been served, frozen and only appended to, and an open tail of ranked candidates."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import orjson

from feed_svc.feeds.store import ClientHints, Trial

_ENTRY = struct.Struct("<qqqfBBII")
_HEADER = struct.Struct("<I")
FORMAT = 1


class Entry(NamedTuple):
    """One video of a snapshot: 38 bytes when packed. Tags are numbers, named by `Snapshot.tags`."""

    video_id: int
    author_id: int
    seed_id: int
    """For SIMILAR_VIDEO the video it is like; else 0."""
    score: float
    source: int
    """Number of its source; with `sources.YOUNG` set when it was offered as a young video, too."""
    reason: int
    """Number of `reasons.ReasonKind`."""
    topic: int
    """Its first hashtag; 0: none."""
    tag: int
    """The hashtag that its reason names; 0: none."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Immutable: every change is a new value with a higher version."""

    id: str
    owner: str
    version: int
    created_at_ms: int
    client: ClientHints
    made_for: int
    """The version of the viewer's actions when it was begun: a later first page does not reuse it after others."""
    relations: int
    """Digest of the viewer's relations when it was begun."""
    tail_for: int
    """The version of actions that the tail was ranked for."""
    tail_relations: int
    """Digest of relations that the tail was ranked for."""
    tail_at_ms: int
    model_version: str = ""
    is_ranked: bool = True
    """The tail carries the ranker's order."""
    is_whole: bool = False
    """The tail held all candidates there were: when it ends, the feed ends."""
    tags: Mapping[int, str] = field(default_factory=dict)
    served: tuple[Entry, ...] = ()
    tail: tuple[Entry, ...] = ()
    without: tuple[int, ...] = ()
    """Videos served by a snapshot that this one replaces: not served again."""
    memory: tuple[tuple[int, int], ...] = ()
    """Author and topic of the last places served before this snapshot began: variety goes on from them."""
    trials: Mapping[int, Trial] = field(default_factory=dict)
    """Of young videos of the tail."""

    def freeze(self, picked: Sequence[Entry], dropped: frozenset[int], now_ms: int) -> Snapshot:
        """Serve `picked`; they and `dropped` leave the tail."""
        gone = {entry.video_id for entry in picked} | dropped
        return replace(
            self,
            trials={i: trial for i, trial in self.trials.items() if i not in gone},
            version=max(self.version + 1, now_ms),
            served=(*self.served, *picked),
            tail=tuple(entry for entry in self.tail if entry.video_id not in gone),
        )

    def tag(self, number: int) -> str:
        """The hashtag of a number; empty for 0."""
        return self.tags.get(number, "")


def pack_entries(entries: Sequence[Entry]) -> bytes:
    """Entries as bytes."""
    return b"".join(_ENTRY.pack(*entry) for entry in entries)


def unpack_entries(data: bytes) -> tuple[Entry, ...]:
    """What `pack_entries` packed."""
    return tuple(map(Entry._make, _ENTRY.iter_unpack(data)))


def pack(snapshot: Snapshot) -> bytes:
    """A snapshot as bytes: a JSON header, then entries."""
    s, c = snapshot, snapshot.client
    header = orjson.dumps(
        {
            "f": FORMAT,
            "id": s.id,
            "o": s.owner,
            "v": s.version,
            "at": s.created_at_ms,
            "c": [c.client_id, c.device, c.timezone, c.language, c.region],
            "n": [s.made_for, s.relations, s.tail_for, s.tail_relations, s.tail_at_ms],
            "m": s.model_version,
            "b": [s.is_ranked, s.is_whole],
            "t": {str(number): tag for number, tag in s.tags.items()},
            "w": s.without,
            "r": s.memory,
            "y": {str(i): _trial(trial) for i, trial in s.trials.items()},
            "l": [len(s.served), len(s.tail)],
        }
    )
    return b"".join((_HEADER.pack(len(header)), header, pack_entries(s.served), pack_entries(s.tail)))


def unpack(data: bytes) -> Snapshot:
    """What `pack` packed. Raises ValueError when it is of another format."""
    (length,) = _HEADER.unpack_from(data)
    body = _HEADER.size + length
    h = orjson.loads(data[_HEADER.size : body])
    if h["f"] != FORMAT:
        raise ValueError(f"snapshot of format {h['f']}")
    entries = unpack_entries(data[body:])
    served, _ = h["l"]
    made_for, relations, tail_for, tail_relations, tail_at_ms = h["n"]
    return Snapshot(
        id=h["id"],
        owner=h["o"],
        version=h["v"],
        created_at_ms=h["at"],
        client=ClientHints(*h["c"]),
        made_for=made_for,
        relations=relations,
        tail_for=tail_for,
        tail_relations=tail_relations,
        tail_at_ms=tail_at_ms,
        model_version=h["m"],
        is_ranked=h["b"][0],
        is_whole=h["b"][1],
        tags={int(number): tag for number, tag in h["t"].items()},
        served=entries[:served],
        tail=entries[served:],
        without=tuple(h["w"]),
        memory=tuple((author, topic) for author, topic in h.get("r", ())),
        trials={int(video_id): Trial(*values) for video_id, values in h.get("y", {}).items()},
    )


def _trial(trial: Trial) -> tuple[int, int, float, float, float]:
    counts = (round(trial.completions, 2), round(trial.watches, 2))
    return trial.impressions, trial.guaranteed, *counts, round(trial.typical, 4)
