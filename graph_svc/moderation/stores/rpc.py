"""What can be reported, asked of the services that keep it: they alone decide who may see it."""

from __future__ import annotations

import grpc

from graph_svc.moderation.store import Subject
from reelgraph.graph.v1.accounts_pb2 import BatchGetAccountsRequest
from reelgraph.graph.v1.accounts_pb2_grpc import AccountServiceStub
from reelgraph.graph.v1.engagement_pb2 import BatchGetCommentsRequest
from reelgraph.graph.v1.engagement_pb2_grpc import EngagementServiceStub
from reelgraph.media.v1.videos_pb2 import BatchGetVideosRequest
from reelgraph.media.v1.videos_pb2_grpc import VideoServiceStub
from svc_kit.caller import Caller
from svc_kit.rpc.client import Peer


class RpcSubjectDirectory:
    """`SubjectDirectory` by VideoService, EngagementService and AccountService."""

    def __init__(self, peer: Peer, *, graph: grpc.aio.Channel, media: grpc.aio.Channel) -> None:
        self._peer = peer
        self._videos = VideoServiceStub(media)
        self._comments = EngagementServiceStub(graph)
        self._accounts = AccountServiceStub(graph)

    async def is_visible(self, caller: Caller, subject: Subject, subject_id: int) -> bool:
        if subject is Subject.VIDEO:
            videos = BatchGetVideosRequest(ids=[subject_id])
            return bool((await self._peer.call(self._videos.BatchGetVideos, videos, caller)).videos)
        if subject is Subject.COMMENT:
            comments = BatchGetCommentsRequest(ids=[subject_id])
            return bool((await self._peer.call(self._comments.BatchGetComments, comments, caller)).comments)
        accounts = BatchGetAccountsRequest(ids=[subject_id])
        return bool((await self._peer.call(self._accounts.BatchGetAccounts, accounts, caller)).accounts)
