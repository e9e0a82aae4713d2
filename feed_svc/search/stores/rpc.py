"""What search asks of media_svc and graph_svc."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from feed_svc.search.store import Account, PublishedVideo
from reelgraph.graph.v1 import accounts_pb2
from reelgraph.graph.v1.accounts_pb2 import BatchGetAccountsRequest, ListAccountsRequest
from reelgraph.graph.v1.accounts_pb2_grpc import AccountServiceStub
from reelgraph.graph.v1.follows_pb2 import BatchGetFollowCountsRequest, BatchGetRelationsRequest
from reelgraph.graph.v1.follows_pb2_grpc import FollowServiceStub
from reelgraph.media.v1.videos_pb2 import (
    BatchGetVideosRequest,
    ListPublishedVideosRequest,
    Video,
    VideoState,
    Visibility,
)
from reelgraph.media.v1.videos_pb2_grpc import VideoServiceStub
from svc_kit.caller import Caller
from svc_kit.rpc.client import AS_SERVICE, Peer

MOST_ACCOUNTS = 500


class RpcVideoDirectory:
    """`VideoDirectory` by media_svc's VideoService."""

    def __init__(self, peer: Peer, stub: VideoServiceStub) -> None:
        self._peer = peer
        self._stub = stub

    async def visible(self, caller: Caller, video_ids: Sequence[int]) -> frozenset[int]:
        if not video_ids:
            return frozenset()
        answer = await self._peer.call(self._stub.BatchGetVideos, BatchGetVideosRequest(ids=video_ids), caller)
        return frozenset(video.id for video in answer.videos if _is_shown(video))

    async def published(self, after_id: int, limit: int) -> Sequence[PublishedVideo]:
        request = ListPublishedVideosRequest(page_size=limit, after_id=after_id)
        answer = await self._peer.call(self._stub.ListPublishedVideos, request, AS_SERVICE)
        return [
            PublishedVideo(
                video.id,
                video.author_id,
                video.version,
                _is_shown(video),
                video.caption,
                tuple(video.hashtags),
                video.created_at.ToMilliseconds(),
            )
            for video in answer.videos
        ]


def _is_shown(video: Video) -> bool:
    return video.visibility == Visibility.VISIBILITY_PUBLIC and video.state == VideoState.VIDEO_STATE_READY


class RpcAccountDirectory:
    """`AccountDirectory` by graph_svc's AccountService and FollowService."""

    def __init__(self, peer: Peer, accounts: AccountServiceStub, follows: FollowServiceStub) -> None:
        self._peer = peer
        self._accounts = accounts
        self._follows = follows

    async def blocked(self, caller: Caller, account_ids: Sequence[int]) -> frozenset[int]:
        if not caller.user_id or not account_ids:
            return frozenset()
        request = BatchGetRelationsRequest(user_ids=account_ids)
        # Only a service is told who blocks the viewer.
        acting = Caller(user_id=caller.user_id, is_service=True, request_id=caller.request_id)
        answer = await self._peer.call(self._follows.BatchGetRelations, request, acting)
        return frozenset(r.user_id for r in answer.relations if r.blocks or r.blocked_by)

    async def accounts(self, account_ids: Sequence[int]) -> Mapping[int, Account]:
        found: dict[int, Account] = {}
        for start in range(0, len(account_ids), MOST_ACCOUNTS):
            request = BatchGetAccountsRequest(ids=account_ids[start : start + MOST_ACCOUNTS])
            answer = await self._peer.call(self._accounts.BatchGetAccounts, request, AS_SERVICE)
            found.update((account.id, _account(account)) for account in answer.accounts)
        return found

    async def follower_counts(self, account_ids: Sequence[int]) -> Mapping[int, int]:
        found: dict[int, int] = {}
        for start in range(0, len(account_ids), MOST_ACCOUNTS):
            request = BatchGetFollowCountsRequest(user_ids=account_ids[start : start + MOST_ACCOUNTS])
            answer = await self._peer.call(self._follows.BatchGetFollowCounts, request, AS_SERVICE)
            found.update((counts.user_id, counts.follower_count) for counts in answer.counts)
        return found

    async def all(self) -> AsyncIterator[Sequence[Account]]:
        token = ""
        while True:
            request = ListAccountsRequest(page_size=MOST_ACCOUNTS, page_token=token)
            answer = await self._peer.call(self._accounts.ListAccounts, request, AS_SERVICE)
            yield [_account(account) for account in answer.accounts]
            token = answer.next_page_token
            if not token:
                return


def _account(account: accounts_pb2.Account) -> Account:
    return Account(account.id, 0, account.username, account.display_name)
