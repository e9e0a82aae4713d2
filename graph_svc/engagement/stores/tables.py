"""Tables of likes (keyed by user), comments (by video, and by writer for deletion) and shares (by user)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, String, Table, Text

from graph_svc.schema import metadata


def _likes(name: str, subject: str) -> Table:
    return Table(
        name,
        metadata,
        Column("user_id", BigInteger, primary_key=True, autoincrement=False),
        Column(subject, BigInteger, primary_key=True, autoincrement=False),
        Column("author_id", BigInteger, nullable=False),
        Column("active", Boolean, nullable=False),
        Column("version", BigInteger, nullable=False),
    )


likes = _likes("likes", "video_id")
comment_likes = _likes("comment_likes", "comment_id")

comments = Table(
    "comments",
    metadata,
    Column("video_id", BigInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("author_id", BigInteger, nullable=False),
    Column("video_author_id", BigInteger, nullable=False),
    Column("parent_id", BigInteger, nullable=False),
    Column("text", Text),
    Column("version", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)
Index("comments_by_id", comments.c.id, unique=True)
Index("comments_by_parent", comments.c.video_id, comments.c.parent_id, comments.c.id)

user_comments = Table(
    "user_comments",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("comment_id", BigInteger, primary_key=True, autoincrement=False),
    Column("video_id", BigInteger, nullable=False),
)

shares = Table(
    "shares",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("video_id", BigInteger, nullable=False),
    Column("author_id", BigInteger, nullable=False),
    Column("channel", String(16), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

# Videos that media_svc has deleted: what was on its way to them when that was heard of is refused.
gone_videos = Table("gone_videos", metadata, Column("video_id", BigInteger, primary_key=True, autoincrement=False))
