"""The bus's file: its tables, and what is done to them, as functions of a connection inside a transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from svc_kit.bus.layout import assign, partition_of, positions_of
from svc_kit.bus.port import DeadLetter, Delivery, Position, Record

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
  "offset" INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, part INTEGER NOT NULL,
  event_id INTEGER NOT NULL UNIQUE, key INTEGER NOT NULL, entity TEXT NOT NULL, payload BLOB NOT NULL,
  appended_at_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS records_by_position ON records (topic, part, "offset");
CREATE TABLE IF NOT EXISTS groups (name TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (
  grp TEXT NOT NULL, member TEXT NOT NULL, topics TEXT NOT NULL, expires_at_ms INTEGER NOT NULL,
  PRIMARY KEY (grp, member)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS positions (
  grp TEXT NOT NULL, topic TEXT NOT NULL, part INTEGER NOT NULL, next_offset INTEGER NOT NULL DEFAULT 0,
  owner TEXT NOT NULL DEFAULT '', generation INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (grp, topic, part)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letters (
  id INTEGER PRIMARY KEY AUTOINCREMENT, grp TEXT NOT NULL, topic TEXT NOT NULL, part INTEGER NOT NULL,
  "offset" INTEGER NOT NULL, event_id INTEGER NOT NULL, key INTEGER NOT NULL, entity TEXT NOT NULL,
  payload BLOB NOT NULL, error TEXT NOT NULL, buried_at_ms INTEGER NOT NULL, UNIQUE (grp, topic, part, "offset"));
"""


@dataclass(slots=True)
class Held:
    """A partition that a member holds: its fencing generation and the offset to read next."""

    generation: int
    next: int


@dataclass(frozen=True, slots=True)
class News:
    """What changed in the file since the last look."""

    last: int
    heads: Mapping[Position, int]
    versions: Mapping[str, int]
    lost: bool
    """Some member's process is gone, or did not say for too long that it runs."""


def fixed_partitions(db: sqlite3.Connection, wanted: int) -> int:
    """The number of partitions, written at the first opening."""
    db.execute("INSERT OR IGNORE INTO meta VALUES ('partitions', ?)", (wanted,))
    return int(db.execute("SELECT value FROM meta WHERE name = 'partitions'").fetchone()[0])


def append(db: sqlite3.Connection, records: Sequence[Record], partitions: int, now: int) -> dict[Position, int]:
    """Append what is not there yet, by event id; the last new offset of each partition."""
    heads: dict[Position, int] = {}
    for r in records:
        partition = partition_of(r.key, partitions)
        cursor = db.execute(
            "INSERT INTO records (topic, part, event_id, key, entity, payload, appended_at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING",
            (r.topic, partition, r.event_id, r.key, r.entity, r.payload, now),
        )
        if cursor.rowcount:
            assert cursor.lastrowid is not None
            heads[r.topic, partition] = cursor.lastrowid
    return heads


def heads_of(db: sqlite3.Connection, positions: Collection[Position]) -> dict[Position, int]:
    """The last offset of each partition; 0 where there is none."""
    sql = 'SELECT coalesce(max("offset"), 0) FROM records WHERE topic = ? AND part = ?'
    return {position: db.execute(sql, position).fetchone()[0] for position in positions}


def look(db: sqlite3.Connection, last: int, now: int, is_gone: Callable[[str], bool]) -> News:
    """What changed after offset `last`; one seek each when nothing did."""
    rows = db.execute(
        'SELECT topic, part, max("offset") FROM records WHERE "offset" > ? GROUP BY 1, 2', (last,)
    ).fetchall()
    heads = {(topic, part): offset for topic, part, offset in rows}
    versions = dict(db.execute("SELECT name, version FROM groups").fetchall())
    lost = any(expires < now or is_gone(m) for m, expires in db.execute("SELECT member, expires_at_ms FROM members"))
    return News(max(heads.values(), default=last), heads, versions, lost)


def fetch(
    db: sqlite3.Connection, wants: Sequence[tuple[Position, int]], limit: int
) -> tuple[list[Delivery], list[Position]]:
    """Deliveries from the given offsets, `limit` in all; and the partitions where there was none."""
    found: list[Delivery] = []
    empty: list[Position] = []
    for (topic, part), start in wants:
        if len(found) >= limit:
            break
        rows = db.execute(
            'SELECT key, event_id, entity, payload, "offset" FROM records'
            ' WHERE topic = ? AND part = ? AND "offset" >= ? ORDER BY "offset" LIMIT ?',
            (topic, part, start, limit - len(found)),
        ).fetchall()
        found += [Delivery(Record(topic, k, event_id, e, p), part, offset) for k, event_id, e, p, offset in rows]
        if not rows:
            empty.append((topic, part))
    return found, empty


def lag(db: sqlite3.Connection, group: str, positions: Collection[Position]) -> int:
    """Records at or above the committed offsets."""
    sql = """SELECT count(*) FROM records WHERE topic = :t AND part = :p AND "offset" >= coalesce(
      (SELECT next_offset FROM positions WHERE grp = :g AND topic = :t AND part = :p), 0)"""
    return sum(db.execute(sql, {"g": group, "t": t, "p": p}).fetchone()[0] for t, p in positions)


def groups(db: sqlite3.Connection) -> dict[str, list[str]]:
    """All groups -> the topics that they read."""
    found: dict[str, list[str]] = {}
    for name, topic in db.execute("SELECT DISTINCT grp, topic FROM positions ORDER BY grp, topic").fetchall():
        found.setdefault(name, []).append(topic)
    return found


def drop_group(db: sqlite3.Connection, group: str) -> None:
    """Remove all that is known of a group."""
    for table, column in (("positions", "grp"), ("dead_letters", "grp"), ("groups", "name")):
        db.execute(f"DELETE FROM {table} WHERE {column} = ?", (group,))


def bump(db: sqlite3.Connection, group: str) -> int:
    """Tell all members of a group to look again; the new version."""
    sql = "INSERT INTO groups VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET version = version + 1 RETURNING version"
    return int(db.execute(sql, (group,)).fetchall()[0][0])


def version(db: sqlite3.Connection, group: str) -> int:
    """The version of a group that has members."""
    return int(db.execute("SELECT version FROM groups WHERE name = ?", (group,)).fetchone()[0])


def join(db: sqlite3.Connection, group: str, member: str, topics: Sequence[str], partitions: int, expires: int) -> None:
    """Add a member where it is not one. Its partitions exist from now on, so that retention waits for the group."""
    row = (group, member, json.dumps(list(topics)), expires)
    if not db.execute("INSERT OR IGNORE INTO members VALUES (?, ?, ?, ?)", row).rowcount:
        return
    bump(db, group)
    db.executemany(
        "INSERT OR IGNORE INTO positions (grp, topic, part) VALUES (?, ?, ?)",
        [(group, *position) for position in positions_of(topics, partitions)],
    )


def leave(db: sqlite3.Connection, group: str, member: str) -> int:
    """Remove a member and free its partitions; the group's new version."""
    db.execute("DELETE FROM members WHERE grp = ? AND member = ?", (group, member))
    db.execute("UPDATE positions SET owner = '' WHERE grp = ? AND owner = ?", (group, member))
    return bump(db, group)


def purge(db: sqlite3.Connection, now: int, is_gone: Callable[[str], bool]) -> dict[str, int]:
    """Remove members whose process is gone or silent; the new versions of their groups."""
    rows = db.execute("SELECT grp, member, expires_at_ms FROM members").fetchall()
    return {group: leave(db, group, member) for group, member, expires in rows if expires < now or is_gone(member)}


def heartbeat(db: sqlite3.Connection, members: Collection[str], expires: int) -> None:
    """Members run until `expires` (ms) at least. One that was removed meanwhile stays removed until it rebalances."""
    db.executemany("UPDATE members SET expires_at_ms = ? WHERE member = ?", [(expires, member) for member in members])


def rebalance(db: sqlite3.Connection, group: str, member: str, partitions: int) -> tuple[int, dict[Position, Held]]:
    """Release what others should hold, take what is free and should be ours; version of the group, and what we hold."""
    rows = db.execute("SELECT member, topics FROM members WHERE grp = ?", (group,)).fetchall()
    owned = db.execute("SELECT topic, part, owner FROM positions WHERE grp = ?", (group,)).fetchall()
    current = {(topic, part): owner for topic, part, owner in owned if owner}
    owners = assign({m: json.loads(topics) for m, topics in rows}, partitions, current)
    give = [(group, *p) for p, owner in current.items() if owner == member and owners.get(p) != member]
    take = [(member, group, *p) for p, owner in owners.items() if owner == member and p not in current]
    db.executemany("UPDATE positions SET owner = '' WHERE grp = ? AND topic = ? AND part = ?", give)
    db.executemany(
        "UPDATE positions SET owner = ?, generation = generation + 1 WHERE grp = ? AND topic = ? AND part = ?", take
    )
    if give:
        bump(db, group)
    held = db.execute(
        "SELECT topic, part, generation, next_offset FROM positions WHERE grp = ? AND owner = ?", (group, member)
    )
    return version(db, group), {(topic, part): Held(generation, start) for topic, part, generation, start in held}


def commit(
    db: sqlite3.Connection, group: str, member: str, marks: Mapping[Position, tuple[int, int]]
) -> list[Position]:
    """Move committed offsets forward, `marks` being (generation, next offset); the partitions where we are fenced
    off."""
    sql = """UPDATE positions SET next_offset = max(next_offset, ?)
      WHERE grp = ? AND topic = ? AND part = ? AND owner = ? AND generation = ?"""
    return [
        position
        for position, (generation, following) in marks.items()
        if not db.execute(sql, (following, group, *position, member, generation)).rowcount
    ]


def seek(db: sqlite3.Connection, group: str, offsets: Mapping[Position, int]) -> int:
    """Set committed offsets; what was polled before can't be committed any more. The group's new version."""
    sql = "UPDATE positions SET next_offset = ?, generation = generation + 1 WHERE grp = ? AND topic = ? AND part = ?"
    db.executemany(sql, [(max(0, offset), group, *position) for position, offset in offsets.items()])
    return bump(db, group)


def bury(db: sqlite3.Connection, group: str, delivery: Delivery, error: str, now: int) -> None:
    """Add a dead letter, once."""
    r = delivery.record
    db.execute(
        "INSERT OR IGNORE INTO dead_letters"
        ' (grp, topic, part, "offset", event_id, key, entity, payload, error, buried_at_ms)'
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (group, r.topic, delivery.partition, delivery.offset, r.event_id, r.key, r.entity, r.payload, error, now),
    )


def dead_letters(db: sqlite3.Connection, group: str, limit: int) -> list[DeadLetter]:
    """Oldest first."""
    rows = db.execute(
        'SELECT topic, key, event_id, entity, payload, part, "offset", error, buried_at_ms'
        " FROM dead_letters WHERE grp = ? ORDER BY id LIMIT ?",
        (group, limit),
    )
    return [DeadLetter(group, Delivery(Record(*row[:5]), row[5], row[6]), row[7], row[8]) for row in rows]


def forget(db: sqlite3.Connection, letters: Sequence[DeadLetter]) -> None:
    """Remove dead letters."""
    places = [(x.group, x.delivery.record.topic, x.delivery.partition, x.delivery.offset) for x in letters]
    db.executemany('DELETE FROM dead_letters WHERE grp = ? AND topic = ? AND part = ? AND "offset" = ?', places)


def prune(db: sqlite3.Connection, before: int, limit: int) -> int:
    """Remove at most `limit` of the oldest records: appended before `before` (ms), and committed by every group
    of their topic."""
    rows = db.execute(
        """SELECT r."offset" FROM (SELECT * FROM records ORDER BY "offset" LIMIT ?) r WHERE r.appended_at_ms < ?
          AND EXISTS (SELECT 1 FROM positions p WHERE p.topic = r.topic)
          AND NOT EXISTS (SELECT 1 FROM positions p
            WHERE p.topic = r.topic AND p.part = r.part AND p.next_offset <= r."offset")""",
        (limit, before),
    ).fetchall()
    db.executemany('DELETE FROM records WHERE "offset" = ?', rows)
    return len(rows)
