"""Publishing, changing and deleting videos, and what moderators and departing accounts cause."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from media_svc.uploads.outcomes import Intake, IntakeTx, release_upload
from media_svc.uploads.store import UploadRow, UploadState
from media_svc.videos import lifecycle
from media_svc.videos.queries import VideoQueries
from media_svc.videos.store import NO_MEDIA, VideoRow, VideoState, Visibility
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import conflict, forbidden, invalid, not_found
from svc_kit.ids import IdGenerator
from svc_kit.text import hashtags_of
from svc_kit.uow import UnitOfWork, idempotent

MAX_HASHTAGS = 30


@dataclass(frozen=True, slots=True)
class Draft:
    """What an author says about a video."""

    caption: str
    visibility: Visibility
    allow_comments: bool
    language: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """The deleted video."""

    video_id: int


class VideoCommands:
    """See `VideoService`. `changed` tells listeners that an upload moved."""

    def __init__(
        self,
        intake: Intake,
        queries: VideoQueries,
        *,
        replies: UnitOfWork,
        ids: IdGenerator,
        clock: Clock,
        changed: Callable[[int], Awaitable[None]],
    ) -> None:
        self._intake = intake
        self._queries = queries
        self.replies = replies
        self._ids = ids
        self._clock = clock
        self._changed = changed

    @idempotent
    async def publish_video(self, caller: Caller, upload_id: int, draft: Draft) -> VideoRow:
        """The video of an upload of the viewer's own: a new one, or the one published before, unchanged."""
        author = caller.viewer()
        async with self._intake.begin(caller) as tx:
            upload = await tx.upload(upload_id)
            if upload is None or upload.owner_id != author:
                raise not_found("upload_id", "upload")
            video = await tx.video_of_upload(upload_id)
            if video is None:
                video = await self._publish(tx, upload, draft)
            elif video.state is VideoState.DELETED:
                raise conflict("upload_id", "The video of this upload was deleted; begin another upload.")
            result = await tx.reply(video)
        await self._changed(upload_id)
        return result

    async def _publish(self, tx: IntakeTx, upload: UploadRow, draft: Draft) -> VideoRow:
        if upload.is_image:
            raise invalid("upload_id", "The upload is an image, not a video.")
        if upload.state is UploadState.FAILED:
            raise conflict("upload_id", f"The upload has failed: {upload.failure_reason}")
        if upload.state is UploadState.ABORTED:
            raise conflict("upload_id", "The upload was given up; begin again.")
        if await tx.is_banned(upload.sha256):
            raise conflict("upload_id", "These bytes were taken down and can't be published.")
        video = _new_video(self._ids.next(), upload, draft, now_ms(self._clock))
        await tx.add_video(video)
        await tx.save_upload(replace(upload, video_id=video.id))
        if upload.state is UploadState.READY:
            return await lifecycle.make_ready(tx, video, upload.set_id, now_ms(self._clock))
        return video

    @idempotent
    async def update_video(
        self,
        caller: Caller,
        video_id: int,
        *,
        caption: str | None = None,
        visibility: Visibility | None = None,
        allow_comments: bool | None = None,
    ) -> VideoRow:
        """Change what is not None. Another visibility ends all playback URLs made before."""
        await self._check_author(caller, video_id)
        async with self._intake.begin(caller) as tx:
            row = await tx.video(video_id)
            if row is None or row.state is VideoState.DELETED:
                raise not_found("video_id", "video")
            if row.state is VideoState.REMOVED:
                raise conflict("video_id", "The video was taken down and can't be changed.")
            changed = replace(
                row,
                caption=row.caption if caption is None else caption,
                hashtags=row.hashtags if caption is None else hashtags(caption),
                visibility=visibility or row.visibility,
                allow_comments=row.allow_comments if allow_comments is None else allow_comments,
            )
            if changed != row:
                changed = await lifecycle.change(tx, row, changed)
            return await tx.reply(changed)

    @idempotent
    async def delete_video(self, caller: Caller, video_id: int) -> Deleted:
        """Delete a video of the viewer's own, for good: playback stops at once."""
        await self._check_author(caller, video_id)
        async with self._intake.begin(caller) as tx:
            upload_id = await self._delete(tx, video_id)
            result = await tx.reply(Deleted(video_id))
        await self._changed(upload_id)
        return result

    async def _delete(self, tx: IntakeTx, video_id: int) -> int:
        row = await tx.video(video_id)
        if row is None:
            raise not_found("video_id", "video")
        if row.state is not VideoState.DELETED:
            await lifecycle.delete(tx, row)
            upload = await tx.upload(row.upload_id)
            if upload is not None:
                await release_upload(tx, upload)
        return row.upload_id

    async def take_down(self, caller: Caller, video_id: int, reason: str) -> None:
        """A moderator's decision: the digest is banned, and every video of the same bytes goes. Again: nothing."""
        async with self._intake.begin(caller) as tx:
            row = await tx.video(video_id)
            if row is None:
                return
            same = [row, *(await tx.videos_of_set(row.set_id) if row.set_id else [])]
            upload = await tx.upload(row.upload_id)
            # Until its bytes were verified, a digest is only what somebody says.
            if upload is not None and (upload.set_id or row.set_id):
                await tx.ban_digest(upload.sha256, reason)
            for video in {video.id: video for video in same}.values():
                await lifecycle.take_down(tx, video, reason)

    async def delete_account(self, caller: Caller, upload: UploadRow) -> None:
        """The owner is gone: so is what this upload came to."""
        async with self._intake.begin(caller) as tx:
            video = await tx.video_of_upload(upload.id)
            if video is not None:
                await self._delete(tx, video.id)
            row = await tx.upload(upload.id)
            if row is not None:
                await release_upload(tx, row)
        await self._changed(upload.id)

    async def _check_author(self, caller: Caller, video_id: int) -> None:
        """Somebody else's video: FORBIDDEN when the viewer may see it, else NOT_FOUND."""
        author = await self._queries.author_of(video_id)
        if author == caller.viewer():
            return
        if not await self._queries.videos(caller, [video_id]):
            raise not_found("video_id", "video")
        raise forbidden("video_id", "Only its author may change a video.")


def hashtags(caption: str) -> tuple[str, ...]:
    """The hashtags of a caption: the first 30 count."""
    return hashtags_of(caption)[:MAX_HASHTAGS]


def _new_video(video_id: int, upload: UploadRow, draft: Draft, created_at_ms: int) -> VideoRow:
    return VideoRow(
        id=video_id,
        author_id=upload.owner_id,
        upload_id=upload.id,
        set_id=0,
        state=VideoState.PROCESSING,
        failure_reason="",
        visibility=draft.visibility,
        allow_comments=draft.allow_comments,
        caption=draft.caption,
        hashtags=hashtags(draft.caption),
        language=draft.language,
        media=NO_MEDIA,
        play_id="",
        created_at_ms=created_at_ms,
        published_at_ms=0,
        version=1,
    )
