"""LiveService of a server without live ingest: truthful reads, a clear refusal, healthy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from media_svc.live.server import NoLiveServicer
from reelgraph.media.v1 import live_pb2, live_pb2_grpc
from svc_kit.errors import AppError, Reason
from svc_kit.rpc.server import Servicer
from svc_kit.service import Service
from tests.support.platform import test_platform as open_platform


async def test_there_are_no_streams_and_starting_one_says_why(tmp_path: Path) -> None:
    descriptor = live_pb2.DESCRIPTOR.services_by_name["LiveService"]
    servicer = Servicer(descriptor, NoLiveServicer(), live_pb2_grpc.add_LiveServiceServicer_to_server)
    async with open_platform(tmp_path) as platform, platform.serve(Service("media", [servicer])) as channel:
        stub, viewer = live_pb2_grpc.LiveServiceStub(channel), platform.tokens.viewer(1)
        call = platform.peer.call
        assert not (await call(stub.BatchGetLiveStreams, live_pb2.BatchGetLiveStreamsRequest(ids=[1]), viewer)).streams
        with pytest.raises(AppError) as refused:
            await call(stub.StartLiveStream, live_pb2.StartLiveStreamRequest(title="hello"), viewer)
        assert refused.value.reason is Reason.UNAVAILABLE and "live ingest" in refused.value.message
        with pytest.raises(AppError) as unknown:
            await call(stub.EndLiveStream, live_pb2.EndLiveStreamRequest(live_id=1), viewer)
        assert unknown.value.reason is Reason.NOT_FOUND
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service=descriptor.full_name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
