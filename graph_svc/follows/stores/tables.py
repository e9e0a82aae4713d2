"""Tables of truth (`follows`, `blocks`, `mutes`, keyed by who acts) and of the embedded graph (`graph_edges`,
`graph_activity`)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Table

from graph_svc.schema import metadata


def _edges(name: str, from_name: str, to_name: str) -> Table:
    return Table(
        name,
        metadata,
        Column(from_name, BigInteger, primary_key=True, autoincrement=False),
        Column(to_name, BigInteger, primary_key=True, autoincrement=False),
        Column("active", Boolean, nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("event_id", BigInteger, nullable=False),
    )


follows = _edges("follows", "follower_id", "followee_id")
Index("follows_by_age", follows.c.follower_id, follows.c.active, follows.c.event_id)

blocks = _edges("blocks", "blocker_id", "blocked_id")
Index("blocks_by_blocked", blocks.c.blocked_id, blocks.c.active, blocks.c.blocker_id)

mutes = _edges("mutes", "muter_id", "muted_id")

graph_edges = _edges("graph_edges", "follower_id", "followee_id")
Index("graph_followees_by_age", graph_edges.c.follower_id, graph_edges.c.active, graph_edges.c.event_id)
Index("graph_followers_by_age", graph_edges.c.followee_id, graph_edges.c.active, graph_edges.c.event_id)
Index("graph_followers_by_id", graph_edges.c.followee_id, graph_edges.c.active, graph_edges.c.follower_id)
graph_ended = Index("graph_ended", graph_edges.c.active, graph_edges.c.event_id)

graph_activity = Table(
    "graph_activity",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("active_at_ms", BigInteger, nullable=False),
)
