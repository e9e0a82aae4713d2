"""What the services would know, in memory, for tests of the gateway: small, but true to their contracts."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from reelgraph.feed.v1.feeds_pb2 import FeedReason, FeedReasonKind
from reelgraph.graph.v1.accounts_pb2 import Account
from reelgraph.graph.v1.engagement_pb2 import Comment
from reelgraph.graph.v1.notifications_pb2 import Notification
from reelgraph.media.v1.uploads_pb2 import Upload
from reelgraph.media.v1.videos_pb2 import Video
from svc_kit.errors import invalid

T = TypeVar("T")

CREATED = Timestamp(seconds=1_800_000_000)
VIDEO_READY, PUBLIC, PRIVATE = 2, 1, 3


@dataclass
class Listed:
    """One fake session."""

    id: int
    user_id: int
    device: str
    active: bool = True


@dataclass
class World:
    """State of all services. `calls` are the RPCs that came, `down` what answers UNAVAILABLE, by name."""

    calls: list[tuple[str, Any]] = field(default_factory=list)
    viewers: list[int] = field(default_factory=list)
    """Of each call in `calls`, who it was made for."""
    down: set[str] = field(default_factory=set)
    accounts: dict[int, Account] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    sessions: dict[int, Listed] = field(default_factory=dict)
    revoked: list[asyncio.Queue[int]] = field(default_factory=list)
    follows: set[tuple[int, int]] = field(default_factory=set)
    blocks: set[tuple[int, int]] = field(default_factory=set)
    mutes: set[tuple[int, int]] = field(default_factory=set)
    videos: dict[int, Video] = field(default_factory=dict)
    likes: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    shares: Counter[int] = field(default_factory=Counter)
    views: Counter[int] = field(default_factory=Counter)
    comments: dict[int, Comment] = field(default_factory=dict)
    comment_likes: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    comment_streams: list[asyncio.Queue[Comment | None]] = field(default_factory=list)
    uploads: dict[int, tuple[int, Upload]] = field(default_factory=dict)
    upload_streams: list[asyncio.Queue[Upload]] = field(default_factory=list)
    notifications: dict[int, list[Notification]] = field(default_factory=lambda: defaultdict(list))
    watermark: Counter[int] = field(default_factory=Counter)
    notification_streams: list[asyncio.Queue[Notification]] = field(default_factory=list)
    watched: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    feed: list[tuple[int, FeedReason]] = field(default_factory=list)
    not_interested: set[tuple[int, int]] = field(default_factory=set)
    last_id: int = 1000

    def next_id(self) -> int:
        """A new id, greater than all before."""
        self.last_id += 1
        return self.last_id

    def counted(self) -> Counter[str]:
        """How often each RPC came since `calls` was cleared."""
        return Counter(name for name, _ in self.calls)

    def request(self, name: str) -> Any:
        """The last request of an RPC."""
        return next(request for called, request in reversed(self.calls) if called == name)

    def add_user(self, username: str, password: str = "correct horse") -> Account:
        """An account."""
        account = Account(
            id=self.next_id(), username=username, display_name=username.title(), bio="hi", created_at=CREATED
        )
        self.accounts[account.id] = account
        self.passwords[username] = password
        return account

    def add_session(self, user_id: int, device: str = "test") -> Listed:
        """An active session."""
        session = Listed(self.next_id(), user_id, device)
        self.sessions[session.id] = session
        return session

    def revoke(self, session_id: int, *, tell: bool = True) -> None:
        """End a session; `tell`: on the stream too."""
        self.sessions[session_id].active = False
        if tell:
            for queue in self.revoked:
                queue.put_nowait(session_id)

    def add_video(self, author_id: int, caption: str = "a clip #dance", visibility: int = PUBLIC) -> Video:
        """A READY video, also at the end of the feed as a trending one."""
        video = Video(
            id=self.next_id(),
            author_id=author_id,
            caption=caption,
            hashtags=[word[1:] for word in caption.split() if word.startswith("#")],
            state="VIDEO_STATE_READY",
            visibility=visibility,  # type: ignore[arg-type]
            allow_comments=True,
            created_at=CREATED,
            duration_ms=4200,
            width=360,
            height=640,
            has_audio=True,
        )
        self.videos[video.id] = video
        self.feed.append((video.id, FeedReason(kind=FeedReasonKind.FEED_REASON_KIND_TRENDING)))
        return video

    def add_comment(self, video_id: int, author_id: int, text: str, parent_id: int = 0) -> Comment:
        """A comment; streams of its video get it."""
        comment = Comment(
            id=self.next_id(),
            video_id=video_id,
            author_id=author_id,
            parent_id=parent_id,
            text=text,
            created_at=CREATED,
        )
        self.comments[comment.id] = comment
        for queue in self.comment_streams:
            queue.put_nowait(comment)
        return comment

    def notify(self, user_id: int, kind: int, actor_id: int, video_id: int = 0) -> Notification:
        """A fact for a user; their streams get it."""
        found = Notification(
            id=self.next_id(),
            kind=kind,  # type: ignore[arg-type]
            actor_ids=[actor_id],
            actor_count=1,
            video_id=video_id,
            created_at=CREATED,
        )
        self.notifications[user_id].insert(0, found)
        for queue in self.notification_streams:
            queue.put_nowait(found)
        return found

    def add_upload(self, owner_id: int, state: int = 1) -> Upload:
        """An upload of one part; the owner's streams are told by `move_upload`."""
        upload = Upload(id=self.next_id(), state=state, size_bytes=10, part_size_bytes=5 << 20)  # type: ignore[arg-type]
        part = upload.parts.add(number=1, size_bytes=10, url="http://media.test/u/1")
        part.headers.add(name="x-digest", value="abc")
        upload.expires_at.CopyFrom(CREATED)
        self.uploads[upload.id] = (owner_id, upload)
        return upload

    def move_upload(self, upload_id: int, state: int, percent: int) -> None:
        """Change an upload and tell its streams."""
        upload = self.uploads[upload_id][1]
        upload.state, upload.progress_percent = state, percent  # type: ignore[assignment]
        for queue in self.upload_streams:
            copy = Upload()
            copy.CopyFrom(upload)
            queue.put_nowait(copy)

    def may_view(self, video: Video, viewer: int) -> bool:
        """Public and not blocked, or one's own."""
        blocked = {(viewer, video.author_id), (video.author_id, viewer)} & self.blocks
        return video.author_id == viewer or (video.visibility == PUBLIC and not blocked)

    def visible(self, video_id: int, viewer: int) -> Video | None:
        """The video, if the viewer may see it."""
        video = self.videos.get(video_id)
        return video if video is not None and self.may_view(video, viewer) else None


def page_of(items: Sequence[T], size: int, token: str) -> tuple[list[tuple[T, str]], str]:
    """A page with a token an entry, and the next page's token. Tokens are `t<entries before>`."""
    if token and not (token.startswith("t") and token[1:].isdecimal()):
        raise invalid("page_token", f"page_token is not one of ours: {token}")
    start = int(token[1:]) if token else 0
    chosen = list(items)[start : start + (size or 50)]
    entries = [(item, f"t{start + place + 1}") for place, item in enumerate(chosen)]
    more = start + len(chosen) < len(items)
    return entries, entries[-1][1] if entries and more else ""
