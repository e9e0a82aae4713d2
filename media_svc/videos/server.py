"""The servicer of videos: protobuf to domain and back."""

from __future__ import annotations

from typing import Any

import grpc

from media_svc.delivery.urls import UrlSigner
from media_svc.videos.commands import Draft, VideoCommands
from media_svc.videos.queries import VideoQueries
from media_svc.videos.store import VideoRow, Visibility
from reelgraph.media.v1 import videos_pb2 as pb
from reelgraph.media.v1.videos_pb2_grpc import VideoServiceServicer
from svc_kit.caller import current_caller
from svc_kit.clock import from_ms
from svc_kit.errors import invalid

_Context = grpc.aio.ServicerContext[Any, Any]


class VideoServicer(VideoServiceServicer):
    """`reelgraph.media.v1.VideoService`."""

    def __init__(self, commands: VideoCommands, queries: VideoQueries, urls: UrlSigner) -> None:
        self._commands = commands
        self._queries = queries
        self._urls = urls

    async def PublishVideo(self, request: pb.PublishVideoRequest, context: _Context) -> pb.PublishVideoResponse:
        draft = Draft(
            caption=request.caption,
            visibility=_visibility(request.visibility) or Visibility.PUBLIC,
            allow_comments=request.allow_comments if request.HasField("allow_comments") else True,
            language=request.language,
        )
        row = await self._commands.publish_video(current_caller(), request.upload_id, draft)
        return pb.PublishVideoResponse(video=self._video(row, with_playback=True))

    async def UpdateVideo(self, request: pb.UpdateVideoRequest, context: _Context) -> pb.UpdateVideoResponse:
        row = await self._commands.update_video(
            current_caller(),
            request.video_id,
            caption=request.caption if request.HasField("caption") else None,
            visibility=_visibility(request.visibility),
            allow_comments=request.allow_comments if request.HasField("allow_comments") else None,
        )
        return pb.UpdateVideoResponse(video=self._video(row, with_playback=True))

    async def DeleteVideo(self, request: pb.DeleteVideoRequest, context: _Context) -> pb.DeleteVideoResponse:
        deleted = await self._commands.delete_video(current_caller(), request.video_id)
        return pb.DeleteVideoResponse(deleted_video_id=deleted.video_id)

    async def BatchGetVideos(self, request: pb.BatchGetVideosRequest, context: _Context) -> pb.BatchGetVideosResponse:
        rows = await self._queries.videos(current_caller(), request.ids, unfiltered=request.unfiltered)
        return pb.BatchGetVideosResponse(videos=[self._video(row, request.with_playback) for row in rows])

    async def ListAuthorVideos(
        self, request: pb.ListAuthorVideosRequest, context: _Context
    ) -> pb.ListAuthorVideosResponse:
        page = await self._queries.author_videos(
            current_caller(), request.author_id, request.page_size, request.page_token
        )
        return pb.ListAuthorVideosResponse(
            entries=[
                pb.VideoListEntry(video=self._video(entry.row, request.with_playback), page_token=entry.page_token)
                for entry in page.entries
            ],
            next_page_token=page.next_page_token,
        )

    async def BatchGetVideoCounts(
        self, request: pb.BatchGetVideoCountsRequest, context: _Context
    ) -> pb.BatchGetVideoCountsResponse:
        counts = await self._queries.counts(request.author_ids)
        pairs = zip(request.author_ids, counts, strict=True)
        return pb.BatchGetVideoCountsResponse(
            counts=[pb.VideoCount(author_id=author_id, video_count=count) for author_id, count in pairs]
        )

    async def ListPublishedVideos(
        self, request: pb.ListPublishedVideosRequest, context: _Context
    ) -> pb.ListPublishedVideosResponse:
        rows = await self._queries.published(request.page_size, request.after_id)
        return pb.ListPublishedVideosResponse(videos=[self._video(row, with_playback=False) for row in rows])

    def _video(self, row: VideoRow, with_playback: bool) -> pb.Video:
        video = pb.Video(
            id=row.id,
            author_id=row.author_id,
            caption=row.caption,
            hashtags=row.hashtags,
            state=f"VIDEO_STATE_{row.state.value}",
            failure_reason=row.failure_reason,
            visibility=f"VISIBILITY_{row.visibility.value}",
            allow_comments=row.allow_comments,
            duration_ms=row.media.duration_ms,
            width=row.media.width,
            height=row.media.height,
            has_audio=row.media.has_audio,
            language=row.language,
            version=row.version,
        )
        video.created_at.FromDatetime(from_ms(row.created_at_ms))
        if with_playback and row.play_id:
            video.playback.CopyFrom(self._playback(row))
        return video

    def _playback(self, row: VideoRow) -> pb.Playback:
        urls = self._urls.playback(row.play_id, is_public=row.visibility is Visibility.PUBLIC)
        playback = pb.Playback(hls_url=urls.hls, poster_url=urls.poster, still_urls=urls.stills)
        playback.expires_at.FromDatetime(from_ms(urls.expires_at_ms))
        for r in row.media.renditions:
            playback.renditions.add(width=r.width, height=r.height, codec=r.codec, bitrate_kbps=r.bitrate_kbps)
        return playback


def _visibility(value: pb.Visibility) -> Visibility | None:
    """None when it is not set; raises INVALID for a number that is none of the enum's."""
    if value == pb.Visibility.VISIBILITY_UNSPECIFIED:
        return None
    if value not in pb.Visibility.values():
        raise invalid("visibility", f"visibility must be PUBLIC, FOLLOWERS or PRIVATE; it is number {value}.")
    return Visibility(pb.Visibility.Name(value).removeprefix("VISIBILITY_"))
