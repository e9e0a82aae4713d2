"""The servicer of engagement: protobuf to domain and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from graph_svc.engagement.commands import EngagementCommands
from graph_svc.engagement.commenting import CommentCommands
from graph_svc.engagement.queries import EngagementQueries
from graph_svc.engagement.streaming import CommentStream
from graph_svc.engagement.views import CommentView, VideoEngagement
from reelgraph.graph.v1 import engagement_pb2 as pb
from reelgraph.graph.v1.engagement_pb2_grpc import EngagementServiceServicer
from svc_kit.caller import current_caller
from svc_kit.clock import from_ms

_Context = grpc.aio.ServicerContext[Any, Any]
_CHANNELS = {number: name.removeprefix("SHARE_CHANNEL_") for name, number in pb.ShareChannel.items()}


class EngagementServicer(EngagementServiceServicer):
    """`reelgraph.graph.v1.EngagementService`."""

    def __init__(
        self,
        commands: EngagementCommands,
        comments: CommentCommands,
        queries: EngagementQueries,
        stream: CommentStream,
    ) -> None:
        self._commands = commands
        self._comments = comments
        self._queries = queries
        self._stream = stream

    async def LikeVideo(self, request: pb.LikeVideoRequest, context: _Context) -> pb.LikeVideoResponse:
        result = await self._commands.like_video(current_caller(), request.video_id)
        return pb.LikeVideoResponse(engagement=_engagement(result))

    async def UnlikeVideo(self, request: pb.UnlikeVideoRequest, context: _Context) -> pb.UnlikeVideoResponse:
        result = await self._commands.unlike_video(current_caller(), request.video_id)
        return pb.UnlikeVideoResponse(engagement=_engagement(result))

    async def ShareVideo(self, request: pb.ShareVideoRequest, context: _Context) -> pb.ShareVideoResponse:
        channel = _CHANNELS.get(request.channel, "")
        result = await self._commands.share_video(current_caller(), request.video_id, channel)
        return pb.ShareVideoResponse(engagement=_engagement(result))

    async def AddComment(self, request: pb.AddCommentRequest, context: _Context) -> pb.AddCommentResponse:
        result = await self._comments.add_comment(current_caller(), request.video_id, request.text, request.parent_id)
        return pb.AddCommentResponse(comment=_comment(result))

    async def DeleteComment(self, request: pb.DeleteCommentRequest, context: _Context) -> pb.DeleteCommentResponse:
        result = await self._comments.delete_comment(current_caller(), request.comment_id)
        return pb.DeleteCommentResponse(deleted_comment_id=result.comment_id)

    async def LikeComment(self, request: pb.LikeCommentRequest, context: _Context) -> pb.LikeCommentResponse:
        result = await self._commands.like_comment(current_caller(), request.comment_id)
        return pb.LikeCommentResponse(comment=_comment(result))

    async def UnlikeComment(self, request: pb.UnlikeCommentRequest, context: _Context) -> pb.UnlikeCommentResponse:
        result = await self._commands.unlike_comment(current_caller(), request.comment_id)
        return pb.UnlikeCommentResponse(comment=_comment(result))

    async def BatchGetVideoEngagement(
        self, request: pb.BatchGetVideoEngagementRequest, context: _Context
    ) -> pb.BatchGetVideoEngagementResponse:
        found = await self._queries.videos(current_caller(), request.video_ids)
        return pb.BatchGetVideoEngagementResponse(engagements=map(_engagement, found))

    async def BatchGetReceivedLikes(
        self, request: pb.BatchGetReceivedLikesRequest, context: _Context
    ) -> pb.BatchGetReceivedLikesResponse:
        counts = await self._queries.received_likes(current_caller(), request.user_ids)
        pairs = zip(request.user_ids, counts, strict=True)
        return pb.BatchGetReceivedLikesResponse(
            received_likes=[pb.ReceivedLikes(user_id=user_id, like_count=count) for user_id, count in pairs]
        )

    async def BatchGetComments(
        self, request: pb.BatchGetCommentsRequest, context: _Context
    ) -> pb.BatchGetCommentsResponse:
        found = await self._queries.comments(current_caller(), request.ids)
        return pb.BatchGetCommentsResponse(comments=map(_comment, found))

    async def ListComments(self, request: pb.ListCommentsRequest, context: _Context) -> pb.ListCommentsResponse:
        page = await self._queries.page(
            current_caller(), request.video_id, request.parent_id, request.page_size, request.page_token
        )
        return pb.ListCommentsResponse(
            entries=[
                pb.CommentListEntry(comment=_comment(entry.comment), page_token=entry.page_token)
                for entry in page.entries
            ],
            next_page_token=page.next_page_token,
        )

    async def StreamComments(
        self, request: pb.StreamCommentsRequest, context: _Context
    ) -> AsyncIterator[pb.StreamCommentsResponse]:
        async for comment in self._stream.comments(current_caller(), request.video_id, request.after_id):
            yield pb.StreamCommentsResponse(comment=_comment(comment))


def _engagement(numbers: VideoEngagement) -> pb.VideoEngagement:
    return pb.VideoEngagement(
        video_id=numbers.video_id,
        like_count=numbers.like_count,
        comment_count=numbers.comment_count,
        share_count=numbers.share_count,
        viewer_has_liked=numbers.viewer_has_liked,
    )


def _comment(comment: CommentView) -> pb.Comment:
    answer = pb.Comment(
        id=comment.id,
        video_id=comment.video_id,
        author_id=comment.author_id,
        parent_id=comment.parent_id,
        text=comment.text,
        like_count=comment.like_count,
        reply_count=comment.reply_count,
        viewer_has_liked=comment.viewer_has_liked,
    )
    answer.created_at.FromDatetime(from_ms(comment.created_at_ms))
    return answer
