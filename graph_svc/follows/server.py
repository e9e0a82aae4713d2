"""The servicer of follows: protobuf to domain and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc

from graph_svc.follows.commands import FollowCommands, FollowResult
from graph_svc.follows.counting import FollowCounts
from graph_svc.follows.queries import AccountPage, FollowQueries
from graph_svc.follows.store import Relation
from graph_svc.follows.suggestions import SuggestionQueries
from reelgraph.graph.v1 import follows_pb2 as pb
from reelgraph.graph.v1.follows_pb2_grpc import FollowServiceServicer
from svc_kit.caller import current_caller

_Context = grpc.aio.ServicerContext[Any, Any]


class FollowServicer(FollowServiceServicer):
    """`reelgraph.graph.v1.FollowService`."""

    def __init__(self, commands: FollowCommands, queries: FollowQueries, suggestions: SuggestionQueries) -> None:
        self._commands = commands
        self._queries = queries
        self._suggestions = suggestions

    async def FollowUser(self, request: pb.FollowUserRequest, context: _Context) -> pb.FollowUserResponse:
        result = await self._commands.follow_user(current_caller(), request.user_id)
        return pb.FollowUserResponse(relation=_relation(result.relation), counts=_counts(result))

    async def UnfollowUser(self, request: pb.UnfollowUserRequest, context: _Context) -> pb.UnfollowUserResponse:
        result = await self._commands.unfollow_user(current_caller(), request.user_id)
        return pb.UnfollowUserResponse(relation=_relation(result.relation), counts=_counts(result))

    async def BlockUser(self, request: pb.BlockUserRequest, context: _Context) -> pb.BlockUserResponse:
        result = await self._commands.block_user(current_caller(), request.user_id)
        return pb.BlockUserResponse(relation=_relation(result.relation), counts=_counts(result))

    async def UnblockUser(self, request: pb.UnblockUserRequest, context: _Context) -> pb.UnblockUserResponse:
        result = await self._commands.unblock_user(current_caller(), request.user_id)
        return pb.UnblockUserResponse(relation=_relation(result.relation), counts=_counts(result))

    async def MuteUser(self, request: pb.MuteUserRequest, context: _Context) -> pb.MuteUserResponse:
        result = await self._commands.mute_user(current_caller(), request.user_id)
        return pb.MuteUserResponse(relation=_relation(result.relation), counts=_counts(result))

    async def UnmuteUser(self, request: pb.UnmuteUserRequest, context: _Context) -> pb.UnmuteUserResponse:
        result = await self._commands.unmute_user(current_caller(), request.user_id)
        return pb.UnmuteUserResponse(relation=_relation(result.relation), counts=_counts(result))

    async def BatchGetRelations(
        self, request: pb.BatchGetRelationsRequest, context: _Context
    ) -> pb.BatchGetRelationsResponse:
        viewer = current_caller().viewer()
        read = self._queries.sight_relations if request.last_known else self._queries.relations
        found = await read(viewer, request.user_ids)
        return pb.BatchGetRelationsResponse(relations=map(_relation, found))

    async def BatchGetFollowCounts(
        self, request: pb.BatchGetFollowCountsRequest, context: _Context
    ) -> pb.BatchGetFollowCountsResponse:
        found = await self._queries.counts(current_caller(), request.user_ids)
        return pb.BatchGetFollowCountsResponse(counts=map(_to_counts, found))

    async def ListFollowers(self, request: pb.ListFollowersRequest, context: _Context) -> pb.ListFollowersResponse:
        page = await self._queries.followers(current_caller(), request.user_id, request.page_size, request.page_token)
        return pb.ListFollowersResponse(entries=_entries(page), next_page_token=page.next_page_token)

    async def ListFollowees(self, request: pb.ListFolloweesRequest, context: _Context) -> pb.ListFolloweesResponse:
        page = await self._queries.followees(current_caller(), request.user_id, request.page_size, request.page_token)
        return pb.ListFolloweesResponse(entries=_entries(page), next_page_token=page.next_page_token)

    async def ListSuggestions(
        self, request: pb.ListSuggestionsRequest, context: _Context
    ) -> pb.ListSuggestionsResponse:
        viewer = current_caller().viewer()
        page = await self._suggestions.suggestions(viewer, request.page_size, request.page_token)
        return pb.ListSuggestionsResponse(
            suggestions=[
                pb.Suggestion(
                    user_id=s.user_id,
                    reason=f"SUGGESTION_REASON_{s.kind.name}",
                    via_user_ids=s.via_ids,
                    page_token=s.page_token,
                )
                for s in page.suggestions
            ],
            next_page_token=page.next_page_token,
        )

    async def GetViewerGraph(self, request: pb.GetViewerGraphRequest, context: _Context) -> pb.GetViewerGraphResponse:
        graph = await self._queries.viewer_graph(current_caller().viewer())
        return pb.GetViewerGraphResponse(
            followee_ids=graph.followee_ids,
            friend_ids=graph.friend_ids,
            blocked_ids=graph.blocked_ids,
            muted_ids=graph.muted_ids,
        )

    async def ListFollowerIds(
        self, request: pb.ListFollowerIdsRequest, context: _Context
    ) -> pb.ListFollowerIdsResponse:
        found = await self._queries.follower_ids(
            request.user_id, request.page_size, request.after_id, request.active_since_ms
        )
        return pb.ListFollowerIdsResponse(user_ids=found.user_ids, next_after_id=found.upto_id)

    async def GetKnownActivity(
        self, request: pb.GetKnownActivityRequest, context: _Context
    ) -> pb.GetKnownActivityResponse:
        return pb.GetKnownActivityResponse(active_at_ms=await self._queries.known_activity(request.user_id))


def _relation(relation: Relation) -> pb.Relation:
    return pb.Relation(
        user_id=relation.user_id,
        follows=relation.follows,
        followed_by=relation.followed_by,
        blocks=relation.blocks,
        blocked_by=relation.blocked_by,
        mutes=relation.mutes,
    )


def _counts(result: FollowResult) -> pb.FollowCounts | None:
    return None if result.counts is None else _to_counts(result.counts)


def _to_counts(counts: FollowCounts) -> pb.FollowCounts:
    return pb.FollowCounts(user_id=counts.user_id, follower_count=counts.followers, followee_count=counts.followees)


def _entries(page: AccountPage) -> Sequence[pb.FollowListEntry]:
    return [pb.FollowListEntry(user_id=entry.user_id, page_token=entry.page_token) for entry in page.entries]
