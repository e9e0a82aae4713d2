"""Stubs of the services that the gateway calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reelgraph.feed.v1 import feeds_pb2_grpc, search_pb2_grpc, trending_pb2_grpc, watches_pb2_grpc
from reelgraph.graph.v1 import accounts_pb2_grpc, engagement_pb2_grpc, follows_pb2_grpc, notifications_pb2_grpc
from reelgraph.media.v1 import uploads_pb2_grpc, videos_pb2_grpc
from svc_kit.service import Channels


@dataclass(frozen=True, slots=True)
class Clients:
    """One stub a gRPC service. The generated types know only the synchronous form, hence Any."""

    accounts: Any
    follows: Any
    engagement: Any
    notifications: Any
    uploads: Any
    videos: Any
    feeds: Any
    watches: Any
    trending: Any
    search: Any


def clients_of(channels: Channels) -> Clients:
    """Stubs over the channels."""
    return Clients(
        accounts=accounts_pb2_grpc.AccountServiceStub(channels.graph),
        follows=follows_pb2_grpc.FollowServiceStub(channels.graph),
        engagement=engagement_pb2_grpc.EngagementServiceStub(channels.graph),
        notifications=notifications_pb2_grpc.NotificationServiceStub(channels.graph),
        uploads=uploads_pb2_grpc.UploadServiceStub(channels.media),
        videos=videos_pb2_grpc.VideoServiceStub(channels.media),
        feeds=feeds_pb2_grpc.FeedServiceStub(channels.feed),
        watches=watches_pb2_grpc.WatchServiceStub(channels.feed),
        trending=trending_pb2_grpc.TrendingServiceStub(channels.feed),
        search=search_pb2_grpc.SearchServiceStub(channels.feed),
    )
