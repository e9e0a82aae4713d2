"""How a video changes state, and what is told of it. Every change raises the version, each event its own."""

from __future__ import annotations

import secrets
from dataclasses import replace

from media_svc.videos.store import NO_MEDIA, VideoRow, VideoState, VideoTx
from reelgraph.events.v1.video_pb2 import (
    VideoDeleted,
    VideoFacts,
    VideoFailed,
    VideoPublished,
    VideoReady,
    VideoUpdated,
)


def facts_of(row: VideoRow) -> VideoFacts:
    """What other services need to know of a video."""
    return VideoFacts(
        video_id=row.id,
        author_id=row.author_id,
        caption=row.caption,
        hashtags=row.hashtags,
        visibility=row.visibility.value,
        duration_ms=row.media.duration_ms,
        width=row.media.width,
        height=row.media.height,
        has_audio=row.media.has_audio,
        published_at_ms=row.published_at_ms,
        language=row.language,
    )


def new_play_id() -> str:
    """A name for playback URLs that can't be guessed."""
    return secrets.token_urlsafe(12)


async def make_ready(tx: VideoTx, row: VideoRow, set_id: int, now_ms: int) -> VideoRow:
    """Its renditions are there: it can be played and is published. Only a PROCESSING video changes."""
    if row.state is not VideoState.PROCESSING:
        return row
    ready = replace(
        row,
        state=VideoState.READY,
        set_id=set_id,
        media=await tx.media_of_set(set_id),
        play_id=new_play_id(),
        published_at_ms=now_ms,
        version=row.version + 2,
    )
    await tx.save_video(ready)
    facts = facts_of(ready)
    said = VideoReady(video=facts, upload_id=row.upload_id)
    tx.emit(entity=_entity(row), version=row.version + 1, actor_id=row.author_id, video_ready=said)
    published = VideoPublished(video=facts)
    tx.emit(entity=_entity(row), version=ready.version, actor_id=row.author_id, video_published=published)
    return ready


async def make_failed(tx: VideoTx, row: VideoRow, reason: str) -> VideoRow:
    """Its upload came to nothing. Only a PROCESSING video changes."""
    if row.state is not VideoState.PROCESSING:
        return row
    failed = replace(row, state=VideoState.FAILED, failure_reason=reason, version=row.version + 1)
    await tx.save_video(failed)
    said = VideoFailed(video_id=row.id, author_id=row.author_id, reason=reason)
    tx.emit(entity=_entity(row), version=failed.version, actor_id=row.author_id, video_failed=said)
    return failed


async def change(tx: VideoTx, row: VideoRow, changed: VideoRow) -> VideoRow:
    """Save other words or settings; others are told of what they know: a READY video."""
    changed = replace(changed, version=row.version + 1)
    if row.state is VideoState.READY and changed.visibility is not row.visibility:
        changed = replace(changed, play_id=new_play_id())
    await tx.save_video(changed)
    if row.state is VideoState.READY:
        said = VideoUpdated(video=facts_of(changed))
        tx.emit(entity=_entity(row), version=changed.version, actor_id=row.author_id, video_updated=said)
    return changed


async def take_down(tx: VideoTx, row: VideoRow, reason: str) -> None:
    """A moderator removes it: its author still sees that it was there, for all others it is gone."""
    if row.state in (VideoState.REMOVED, VideoState.DELETED):
        return
    removed = replace(row, state=VideoState.REMOVED, failure_reason=reason, play_id="", version=row.version + 1)
    await _gone(tx, removed)


async def delete(tx: VideoTx, row: VideoRow) -> None:
    """Its author removes it: nothing but the fact that it was there is kept."""
    if row.state is VideoState.DELETED:
        return
    tombstone = replace(
        row,
        state=VideoState.DELETED,
        failure_reason="",
        caption="",
        hashtags=(),
        language="",
        media=NO_MEDIA,
        play_id="",
        version=row.version + 1,
    )
    await _gone(tx, tombstone)


async def _gone(tx: VideoTx, row: VideoRow) -> None:
    await tx.save_video(row)
    said = VideoDeleted(video_id=row.id, author_id=row.author_id)
    tx.emit(entity=_entity(row), version=row.version, actor_id=row.author_id, video_deleted=said)


def _entity(row: VideoRow) -> str:
    return f"video:{row.id}"
