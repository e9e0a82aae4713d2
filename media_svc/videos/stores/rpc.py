"""How viewers stand to authors, which graph_svc knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import grpc

from media_svc.videos.store import Relation
from reelgraph.graph.v1.follows_pb2 import BatchGetRelationsRequest
from reelgraph.graph.v1.follows_pb2_grpc import FollowServiceStub
from svc_kit.caller import Caller
from svc_kit.rpc.client import Peer


class RpcRelations:
    """`Relations` by `FollowService.BatchGetRelations`. Nothing is cached here: a block counts once it is answered;
    while graph_svc's truth is away, it answers by the blocks that were last known."""

    def __init__(self, peer: Peer, channel: grpc.aio.Channel) -> None:
        self._peer = peer
        self._follows = FollowServiceStub(channel)

    async def relations(self, caller: Caller, author_ids: Sequence[int]) -> Mapping[int, Relation]:
        request = BatchGetRelationsRequest(user_ids=author_ids, last_known=True)
        response = await self._peer.call(self._follows.BatchGetRelations, request, caller)
        return {r.user_id: Relation(r.follows, r.blocks, r.blocked_by) for r in response.relations}
