"""gRPC of live streams where no ingest is configured: reads answer truly that there are none."""

from __future__ import annotations

from typing import Any

import grpc

from reelgraph.media.v1 import live_pb2 as pb
from reelgraph.media.v1 import live_pb2_grpc
from svc_kit.errors import AppError, Reason, not_found

_Context = grpc.aio.ServicerContext[Any, Any]


class NoLiveServicer(live_pb2_grpc.LiveServiceServicer):
    """LiveService of a server without live ingest."""

    async def StartLiveStream(
        self, request: pb.StartLiveStreamRequest, context: _Context
    ) -> pb.StartLiveStreamResponse:
        raise AppError(Reason.UNAVAILABLE, "This server has no live ingest.")

    async def EndLiveStream(self, request: pb.EndLiveStreamRequest, context: _Context) -> pb.EndLiveStreamResponse:
        raise not_found("live_id", "live stream")

    async def BatchGetLiveStreams(
        self, request: pb.BatchGetLiveStreamsRequest, context: _Context
    ) -> pb.BatchGetLiveStreamsResponse:
        return pb.BatchGetLiveStreamsResponse()
