"""Fakes of media_svc's and feed_svc's services over a `World`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from reelgraph.feed.v1 import feeds_pb2 as fe
from reelgraph.feed.v1 import search_pb2 as se
from reelgraph.feed.v1 import trending_pb2 as tr
from reelgraph.feed.v1 import watches_pb2 as wa
from reelgraph.media.v1 import uploads_pb2 as up
from reelgraph.media.v1 import videos_pb2 as vi
from svc_kit.caller import current_caller
from svc_kit.errors import UserCode, conflict, forbidden, invalid, not_found
from tests.support.gateway_world import CREATED, PRIVATE, PUBLIC, VIDEO_READY, World, page_of

FINAL = {4, 5, 6}


class FakeVideos:
    """VideoService."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _shown(self, video: vi.Video, with_playback: bool) -> vi.Video:
        shown = vi.Video()
        shown.CopyFrom(video)
        if with_playback and video.state == VIDEO_READY:
            shown.playback.hls_url = f"http://media.test/v/{video.id}/master.m3u8"
            shown.playback.poster_url = f"http://media.test/v/{video.id}/poster.jpg"
            shown.playback.expires_at.CopyFrom(CREATED)
            shown.playback.renditions.add(width=360, height=640, codec="avc1.64001f", bitrate_kbps=500)
        return shown

    def _own(self, video_id: int) -> vi.Video:
        viewer = current_caller().viewer()
        video = self._world.visible(video_id, viewer)
        if video is None:
            raise not_found("video_id", "video")
        if video.author_id != viewer:
            raise forbidden("video_id", "The video is somebody else's.")
        return video

    async def PublishVideo(self, request: vi.PublishVideoRequest, context: Any) -> vi.PublishVideoResponse:
        owner, upload = self._world.uploads.get(request.upload_id, (0, up.Upload()))
        if owner != current_caller().viewer():
            raise not_found("upload_id", "upload")
        video = self._world.add_video(owner, request.caption, request.visibility or PUBLIC)
        video.allow_comments = request.allow_comments if request.HasField("allow_comments") else True
        video.language = request.language
        upload.video_id = video.id
        return vi.PublishVideoResponse(video=video)

    async def UpdateVideo(self, request: vi.UpdateVideoRequest, context: Any) -> vi.UpdateVideoResponse:
        video = self._own(request.video_id)
        if request.HasField("caption"):
            video.caption = request.caption
        if request.visibility:
            video.visibility = request.visibility
        if request.HasField("allow_comments"):
            video.allow_comments = request.allow_comments
        return vi.UpdateVideoResponse(video=video)

    async def DeleteVideo(self, request: vi.DeleteVideoRequest, context: Any) -> vi.DeleteVideoResponse:
        del self._world.videos[self._own(request.video_id).id]
        return vi.DeleteVideoResponse(deleted_video_id=request.video_id)

    async def BatchGetVideos(self, request: vi.BatchGetVideosRequest, context: Any) -> vi.BatchGetVideosResponse:
        found = [self._world.visible(number, current_caller().user_id) for number in request.ids]
        return vi.BatchGetVideosResponse(videos=[self._shown(v, request.with_playback) for v in found if v])

    async def ListAuthorVideos(self, request: vi.ListAuthorVideosRequest, context: Any) -> vi.ListAuthorVideosResponse:
        viewer = current_caller().user_id
        own = [v for v in self._world.videos.values() if v.author_id == request.author_id]
        seen = [v for v in reversed(own) if self._world.may_view(v, viewer)]
        entries, following = page_of(seen, request.page_size, request.page_token)
        listed = [vi.VideoListEntry(video=self._shown(v, request.with_playback), page_token=t) for v, t in entries]
        return vi.ListAuthorVideosResponse(entries=listed, next_page_token=following)

    async def BatchGetVideoCounts(
        self, request: vi.BatchGetVideoCountsRequest, context: Any
    ) -> vi.BatchGetVideoCountsResponse:
        def public(author_id: int) -> int:
            return sum(v.author_id == author_id and v.visibility == PUBLIC for v in self._world.videos.values())

        counts = [vi.VideoCount(author_id=number, video_count=public(number)) for number in request.author_ids]
        return vi.BatchGetVideoCountsResponse(counts=counts)


class FakeUploads:
    """UploadService."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _own(self, upload_id: int) -> up.Upload:
        owner, upload = self._world.uploads.get(upload_id, (0, up.Upload()))
        if owner != current_caller().viewer():
            raise not_found("upload_id", "upload")
        return upload

    async def BeginUpload(self, request: up.BeginUploadRequest, context: Any) -> up.BeginUploadResponse:
        if not 0 < request.size_bytes <= 2 << 30:
            message = f"size_bytes must be 1 to {2 << 30}; it is {request.size_bytes}."
            raise invalid("size_bytes", message, UserCode.TOO_LARGE)
        if request.part_sha256 and len(request.part_sha256[0]) != 64:
            raise invalid("part_sha256.0", "part_sha256.0 must be 64 hexadecimal digits.")
        return up.BeginUploadResponse(upload=self._world.add_upload(current_caller().viewer()))

    async def CompleteUpload(self, request: up.CompleteUploadRequest, context: Any) -> up.CompleteUploadResponse:
        upload = self._own(request.upload_id)
        if not upload.parts[0].received:
            raise conflict("upload_id", "Part 1 is missing.", UserCode.INCOMPLETE)
        self._world.move_upload(upload.id, 2, 0)
        return up.CompleteUploadResponse(upload=upload)

    async def AbortUpload(self, request: up.AbortUploadRequest, context: Any) -> up.AbortUploadResponse:
        upload = self._own(request.upload_id)
        self._world.move_upload(upload.id, 6, 0)
        return up.AbortUploadResponse(upload=upload)

    async def BatchGetUploads(self, request: up.BatchGetUploadsRequest, context: Any) -> up.BatchGetUploadsResponse:
        viewer = current_caller().viewer()
        found = [self._world.uploads[number] for number in request.ids if number in self._world.uploads]
        return up.BatchGetUploadsResponse(uploads=[upload for owner, upload in found if owner == viewer])

    async def StreamUpload(
        self, request: up.StreamUploadRequest, context: Any
    ) -> AsyncIterator[up.StreamUploadResponse]:
        upload = self._own(request.upload_id)
        queue: asyncio.Queue[up.Upload] = asyncio.Queue(1000)
        self._world.upload_streams.append(queue)
        try:
            yield up.StreamUploadResponse(upload=upload)
            while upload.state not in FINAL:
                upload = await queue.get()
                yield up.StreamUploadResponse(upload=upload)
        finally:
            self._world.upload_streams.remove(queue)


class FakeFeeds:
    """FeedService: the feed is the world's list, one snapshot for all."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def GetFeed(self, request: fe.GetFeedRequest, context: Any) -> fe.GetFeedResponse:
        rows = self._world.feed
        if request.kind == fe.FEED_KIND_FOLLOWING:
            viewer = current_caller().viewer()
            followed = {b for a, b in self._world.follows if a == viewer}
            rows = [row for row in rows if self._world.videos[row[0]].author_id in followed]
        if request.cursor and not request.cursor.startswith("t"):
            raise invalid("cursor", "cursor is not one of yours.")
        entries, following = page_of(rows, request.page_size, request.cursor)
        edges = [fe.FeedEdge(video_id=row[0], reason=row[1], cursor=token) for row, token in entries]
        return fe.GetFeedResponse(edges=edges, has_next_page=bool(following), snapshot_id="s1")

    async def MarkNotInterested(
        self, request: fe.MarkNotInterestedRequest, context: Any
    ) -> fe.MarkNotInterestedResponse:
        viewer = current_caller().viewer()
        if self._world.visible(request.video_id, viewer) is None:
            raise not_found("video_id", "video")
        self._world.not_interested.add((viewer, request.video_id))
        return fe.MarkNotInterestedResponse(video_id=request.video_id)


class FakeWatches:
    """WatchService."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._recorded: set[str] = set()

    async def RecordWatches(self, request: wa.RecordWatchesRequest, context: Any) -> wa.RecordWatchesResponse:
        viewer, answer = current_caller().viewer(), wa.RecordWatchesResponse()
        for index, watch in enumerate(request.watches):
            if self._world.visible(watch.video_id, viewer) is None:
                answer.rejected.add(
                    index=index, field="video_id", code="NOT_FOUND", message="video_id: there is no such video."
                )
                continue
            answer.accepted_count += 1
            if watch.watch_id not in self._recorded:
                self._recorded.add(watch.watch_id)
                self._world.views[watch.video_id] += 1
                self._world.watched[viewer].insert(0, watch.video_id)
        return answer

    async def ListWatchHistory(self, request: wa.ListWatchHistoryRequest, context: Any) -> wa.ListWatchHistoryResponse:
        ids = list(dict.fromkeys(self._world.watched[current_caller().viewer()]))
        entries, following = page_of(ids, request.page_size, request.page_token)
        listed = [wa.WatchHistoryEntry(video_id=number, page_token=token) for number, token in entries]
        return wa.ListWatchHistoryResponse(entries=listed, next_page_token=following)

    async def BatchGetViewCounts(
        self, request: wa.BatchGetViewCountsRequest, context: Any
    ) -> wa.BatchGetViewCountsResponse:
        counts = [wa.ViewCount(video_id=number, view_count=self._world.views[number]) for number in request.video_ids]
        return wa.BatchGetViewCountsResponse(counts=counts)


class FakeTrending:
    """TrendingService: public videos by views. Its list lags: what is gone since may still be on it."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def ListTrending(self, request: tr.ListTrendingRequest, context: Any) -> tr.ListTrendingResponse:
        ids = [number for number, _ in self._world.feed]
        entries, following = page_of(ids, request.page_size, request.page_token)
        listed = [tr.TrendingEntry(video_id=number, score=1.0, page_token=token) for number, token in entries]
        return tr.ListTrendingResponse(entries=listed, next_page_token=following)


class FakeSearch:
    """SearchService: substrings."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _hashtags(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for video in self._world.videos.values():
            for name in video.hashtags if video.visibility != PRIVATE else ():
                counts[name] = counts.get(name, 0) + 1
        return counts

    async def Search(self, request: se.SearchRequest, context: Any) -> se.SearchResponse:
        query = request.query.strip().lower()
        wanted = set(request.types) or {se.SEARCH_TYPE_VIDEO, se.SEARCH_TYPE_USER, se.SEARCH_TYPE_HASHTAG}
        hits = [
            se.SearchHit(type=se.SEARCH_TYPE_VIDEO, id=v.id) for v in self._world.videos.values() if query in v.caption
        ]
        hits += [
            se.SearchHit(type=se.SEARCH_TYPE_USER, id=a.id)
            for a in self._world.accounts.values()
            if query in a.username
        ]
        for name, count in self._hashtags().items():
            if query in name:
                found = se.Hashtag(name=name, video_count=count)
                hits.append(se.SearchHit(type=se.SEARCH_TYPE_HASHTAG, hashtag=found))
        chosen = [hit for hit in hits if query and hit.type in wanted]
        entries, following = page_of(chosen, request.page_size, request.page_token)
        for hit, token in entries:
            hit.page_token = token
        return se.SearchResponse(hits=[hit for hit, _ in entries], next_page_token=following)

    async def BatchGetHashtags(self, request: se.BatchGetHashtagsRequest, context: Any) -> se.BatchGetHashtagsResponse:
        counts = self._hashtags()
        found = [se.Hashtag(name=name, video_count=counts[name]) for name in request.names if name in counts]
        return se.BatchGetHashtagsResponse(hashtags=found)

    async def ListHashtagVideos(
        self, request: se.ListHashtagVideosRequest, context: Any
    ) -> se.ListHashtagVideosResponse:
        ids = [v.id for v in self._world.videos.values() if request.name in v.hashtags]
        entries, following = page_of(ids[::-1], request.page_size, request.page_token)
        listed = [se.HashtagVideo(video_id=number, page_token=token) for number, token in entries]
        return se.ListHashtagVideosResponse(entries=listed, next_page_token=following)
