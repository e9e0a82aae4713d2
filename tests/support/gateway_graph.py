"""Fakes of graph_svc's services over a `World`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from reelgraph.graph.v1 import accounts_pb2 as ac
from reelgraph.graph.v1 import engagement_pb2 as en
from reelgraph.graph.v1 import follows_pb2 as fo
from reelgraph.graph.v1 import notifications_pb2 as no
from svc_kit.caller import current_caller
from svc_kit.errors import AppError, Reason, UserCode, forbidden, invalid, not_found, unavailable
from tests.support.gateway_world import CREATED, Listed, World, page_of
from tests.support.platform import Tokens


class FakeAccounts:
    """AccountService."""

    def __init__(self, world: World, tokens: Tokens) -> None:
        self._world = world
        self._tokens = tokens

    def _credentials(self, account: ac.Account, session: Listed) -> ac.Credentials:
        return ac.Credentials(
            access_token=self._tokens.issue(account.id, session.id),
            refresh_token=f"refresh-{session.id}",
            access_expires_at=CREATED,
            session=_session(session, 0),
            account=account,
        )

    async def SignUp(self, request: ac.SignUpRequest, context: Any) -> ac.SignUpResponse:
        if request.client_address and not current_caller().is_service:
            raise forbidden("client_address", "Only a service may set it.")
        if request.username in self._world.passwords:
            raise invalid("username", f"username {request.username} is taken.", UserCode.TAKEN)
        account = self._world.add_user(request.username, request.password)
        session = self._world.add_session(account.id, request.device)
        return ac.SignUpResponse(credentials=self._credentials(account, session))

    async def LogIn(self, request: ac.LogInRequest, context: Any) -> ac.LogInResponse:
        if self._world.passwords.get(request.username) != request.password:
            message = "User name or password is wrong."
            raise AppError(Reason.UNAUTHENTICATED, message, user_code=UserCode.INVALID_CREDENTIALS)
        account = next(a for a in self._world.accounts.values() if a.username == request.username)
        session = self._world.add_session(account.id, request.device)
        return ac.LogInResponse(credentials=self._credentials(account, session))

    async def RefreshSession(self, request: ac.RefreshSessionRequest, context: Any) -> ac.RefreshSessionResponse:
        number = request.refresh_token.removeprefix("refresh-")
        session = self._world.sessions.get(int(number)) if number.isdecimal() else None
        if session is None or not session.active:
            raise invalid("refresh_token", "The refresh token is not valid.", UserCode.INVALID_CREDENTIALS)
        account = self._world.accounts[session.user_id]
        return ac.RefreshSessionResponse(credentials=self._credentials(account, session))

    async def LogOut(self, request: ac.LogOutRequest, context: Any) -> ac.LogOutResponse:
        self._world.revoke(current_caller().session_id)
        return ac.LogOutResponse(revoked_session_id=current_caller().session_id)

    async def RevokeSession(self, request: ac.RevokeSessionRequest, context: Any) -> ac.RevokeSessionResponse:
        session = self._world.sessions.get(request.session_id)
        if session is None or session.user_id != current_caller().viewer():
            raise not_found("session_id", "session")
        self._world.revoke(session.id)
        return ac.RevokeSessionResponse(revoked_session_id=session.id)

    async def ListSessions(self, request: ac.ListSessionsRequest, context: Any) -> ac.ListSessionsResponse:
        caller = current_caller()
        own = [s for s in self._world.sessions.values() if s.user_id == caller.user_id and s.active]
        return ac.ListSessionsResponse(sessions=[_session(s, caller.session_id) for s in reversed(own)])

    async def BatchGetSessionStates(
        self, request: ac.BatchGetSessionStatesRequest, context: Any
    ) -> ac.BatchGetSessionStatesResponse:
        known = self._world.sessions
        active = [number for number in request.session_ids if number in known and known[number].active]
        return ac.BatchGetSessionStatesResponse(active_session_ids=active)

    async def StreamRevokedSessions(
        self, request: ac.StreamRevokedSessionsRequest, context: Any
    ) -> AsyncIterator[ac.StreamRevokedSessionsResponse]:
        queue: asyncio.Queue[int] = asyncio.Queue(100)
        self._world.revoked.append(queue)
        try:
            while True:
                yield ac.StreamRevokedSessionsResponse(session_id=await queue.get())
        finally:
            self._world.revoked.remove(queue)

    async def ListSigningKeys(self, request: ac.ListSigningKeysRequest, context: Any) -> ac.ListSigningKeysResponse:
        return ac.ListSigningKeysResponse(jwks_json='{"keys":[]}')

    async def BatchGetAccounts(self, request: ac.BatchGetAccountsRequest, context: Any) -> ac.BatchGetAccountsResponse:
        known = self._world.accounts
        return ac.BatchGetAccountsResponse(accounts=[known[number] for number in request.ids if number in known])

    async def BatchGetAccountsByUsername(
        self, request: ac.BatchGetAccountsByUsernameRequest, context: Any
    ) -> ac.BatchGetAccountsByUsernameResponse:
        wanted = {name.casefold() for name in request.usernames}
        found = [a for a in self._world.accounts.values() if a.username.casefold() in wanted]
        return ac.BatchGetAccountsByUsernameResponse(accounts=found)

    async def UpdateProfile(self, request: ac.UpdateProfileRequest, context: Any) -> ac.UpdateProfileResponse:
        account = self._world.accounts[current_caller().viewer()]
        if request.HasField("display_name"):
            account.display_name = request.display_name
        if request.HasField("bio"):
            account.bio = request.bio
        if request.HasField("avatar_upload_id"):
            account.avatar_url = f"http://media.test/a/{request.avatar_upload_id}" if request.avatar_upload_id else ""
        return ac.UpdateProfileResponse(account=account)

    async def SetInterests(self, request: ac.SetInterestsRequest, context: Any) -> ac.SetInterestsResponse:
        account = self._world.accounts[current_caller().viewer()]
        return ac.SetInterestsResponse(account=account, hashtags=[h.lstrip("#").lower() for h in request.hashtags])


class FakeFollows:
    """FollowService. All six commands share one shape."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _change(self, edges: set[tuple[int, int]], user_id: int, *, add: bool) -> dict[str, Any]:
        viewer = current_caller().viewer()
        if user_id not in self._world.accounts or (user_id, viewer) in self._world.blocks:
            raise not_found("user_id", "user")
        if user_id == viewer:
            raise invalid("user_id", "user_id must be somebody else's.")
        (edges.add if add else edges.discard)((viewer, user_id))
        return {"relation": self._relation(user_id), "counts": self._counts(user_id)}

    def _relation(self, user_id: int) -> fo.Relation:
        world, viewer = self._world, current_caller().user_id
        return fo.Relation(
            user_id=user_id,
            follows=(viewer, user_id) in world.follows,
            followed_by=(user_id, viewer) in world.follows,
            blocks=(viewer, user_id) in world.blocks,
            mutes=(viewer, user_id) in world.mutes,
        )

    def _counts(self, user_id: int) -> fo.FollowCounts:
        followers = sum(b == user_id for _, b in self._world.follows)
        followees = sum(a == user_id for a, _ in self._world.follows)
        return fo.FollowCounts(user_id=user_id, follower_count=followers, followee_count=followees)

    async def FollowUser(self, request: fo.FollowUserRequest, context: Any) -> fo.FollowUserResponse:
        return fo.FollowUserResponse(**self._change(self._world.follows, request.user_id, add=True))

    async def UnfollowUser(self, request: fo.UnfollowUserRequest, context: Any) -> fo.UnfollowUserResponse:
        return fo.UnfollowUserResponse(**self._change(self._world.follows, request.user_id, add=False))

    async def BlockUser(self, request: fo.BlockUserRequest, context: Any) -> fo.BlockUserResponse:
        return fo.BlockUserResponse(**self._change(self._world.blocks, request.user_id, add=True))

    async def UnblockUser(self, request: fo.UnblockUserRequest, context: Any) -> fo.UnblockUserResponse:
        return fo.UnblockUserResponse(**self._change(self._world.blocks, request.user_id, add=False))

    async def MuteUser(self, request: fo.MuteUserRequest, context: Any) -> fo.MuteUserResponse:
        return fo.MuteUserResponse(**self._change(self._world.mutes, request.user_id, add=True))

    async def UnmuteUser(self, request: fo.UnmuteUserRequest, context: Any) -> fo.UnmuteUserResponse:
        return fo.UnmuteUserResponse(**self._change(self._world.mutes, request.user_id, add=False))

    async def BatchGetRelations(
        self, request: fo.BatchGetRelationsRequest, context: Any
    ) -> fo.BatchGetRelationsResponse:
        return fo.BatchGetRelationsResponse(relations=[self._relation(number) for number in request.user_ids])

    async def BatchGetFollowCounts(
        self, request: fo.BatchGetFollowCountsRequest, context: Any
    ) -> fo.BatchGetFollowCountsResponse:
        return fo.BatchGetFollowCountsResponse(counts=[self._counts(number) for number in request.user_ids])

    async def ListFollowers(self, request: fo.ListFollowersRequest, context: Any) -> fo.ListFollowersResponse:
        ids = sorted(a for a, b in self._world.follows if b == request.user_id)
        entries, following = page_of(ids, request.page_size, request.page_token)
        listed = [fo.FollowListEntry(user_id=number, page_token=token) for number, token in entries]
        return fo.ListFollowersResponse(entries=listed, next_page_token=following)

    async def ListFollowees(self, request: fo.ListFolloweesRequest, context: Any) -> fo.ListFolloweesResponse:
        ids = sorted(b for a, b in self._world.follows if a == request.user_id)
        entries, following = page_of(ids, request.page_size, request.page_token)
        listed = [fo.FollowListEntry(user_id=number, page_token=token) for number, token in entries]
        return fo.ListFolloweesResponse(entries=listed, next_page_token=following)

    async def ListSuggestions(self, request: fo.ListSuggestionsRequest, context: Any) -> fo.ListSuggestionsResponse:
        viewer = current_caller().viewer()
        ids = [n for n in self._world.accounts if n != viewer and (viewer, n) not in self._world.follows]
        entries, following = page_of(ids, request.page_size, request.page_token)
        listed = [fo.Suggestion(user_id=number, page_token=token) for number, token in entries]
        return fo.ListSuggestionsResponse(suggestions=listed, next_page_token=following)


class FakeEngagement:
    """EngagementService."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _numbers(self, video_id: int) -> en.VideoEngagement:
        world = self._world
        return en.VideoEngagement(
            video_id=video_id,
            like_count=len(world.likes[video_id]),
            comment_count=sum(c.video_id == video_id and c.HasField("text") for c in world.comments.values()),
            share_count=world.shares[video_id],
            viewer_has_liked=current_caller().user_id in world.likes[video_id],
        )

    def _seen(self, video_id: int) -> int:
        viewer = current_caller().viewer()
        if self._world.visible(video_id, viewer) is None:
            raise not_found("video_id", "video")
        return viewer

    def _comment(self, comment_id: int) -> en.Comment:
        comment = self._world.comments.get(comment_id)
        if comment is None or self._world.visible(comment.video_id, current_caller().user_id) is None:
            raise not_found("comment_id", "comment")
        return comment

    def _shown(self, comment: en.Comment) -> en.Comment:
        shown = en.Comment()
        shown.CopyFrom(comment)
        likes = self._world.comment_likes[comment.id]
        shown.like_count, shown.viewer_has_liked = len(likes), current_caller().user_id in likes
        shown.reply_count = sum(c.parent_id == comment.id for c in self._world.comments.values())
        return shown

    async def LikeVideo(self, request: en.LikeVideoRequest, context: Any) -> en.LikeVideoResponse:
        self._world.likes[request.video_id].add(self._seen(request.video_id))
        return en.LikeVideoResponse(engagement=self._numbers(request.video_id))

    async def UnlikeVideo(self, request: en.UnlikeVideoRequest, context: Any) -> en.UnlikeVideoResponse:
        self._world.likes[request.video_id].discard(self._seen(request.video_id))
        return en.UnlikeVideoResponse(engagement=self._numbers(request.video_id))

    async def ShareVideo(self, request: en.ShareVideoRequest, context: Any) -> en.ShareVideoResponse:
        self._seen(request.video_id)
        self._world.shares[request.video_id] += 1
        return en.ShareVideoResponse(engagement=self._numbers(request.video_id))

    async def AddComment(self, request: en.AddCommentRequest, context: Any) -> en.AddCommentResponse:
        viewer = self._seen(request.video_id)
        if not 1 <= len(request.text.strip()) <= 2200:
            code = UserCode.TOO_LONG if request.text.strip() else UserCode.REQUIRED
            raise invalid("text", "text must have 1 to 2200 characters.", code)
        comment = self._world.add_comment(request.video_id, viewer, request.text.strip(), request.parent_id)
        return en.AddCommentResponse(comment=self._shown(comment))

    async def DeleteComment(self, request: en.DeleteCommentRequest, context: Any) -> en.DeleteCommentResponse:
        comment = self._comment(request.comment_id)
        if comment.author_id != current_caller().viewer():
            raise forbidden("comment_id", "The comment is somebody else's.")
        comment.ClearField("text")
        return en.DeleteCommentResponse(deleted_comment_id=comment.id)

    async def LikeComment(self, request: en.LikeCommentRequest, context: Any) -> en.LikeCommentResponse:
        self._world.comment_likes[request.comment_id].add(current_caller().viewer())
        return en.LikeCommentResponse(comment=self._shown(self._comment(request.comment_id)))

    async def UnlikeComment(self, request: en.UnlikeCommentRequest, context: Any) -> en.UnlikeCommentResponse:
        self._world.comment_likes[request.comment_id].discard(current_caller().viewer())
        return en.UnlikeCommentResponse(comment=self._shown(self._comment(request.comment_id)))

    async def BatchGetVideoEngagement(
        self, request: en.BatchGetVideoEngagementRequest, context: Any
    ) -> en.BatchGetVideoEngagementResponse:
        return en.BatchGetVideoEngagementResponse(engagements=[self._numbers(number) for number in request.video_ids])

    async def BatchGetReceivedLikes(
        self, request: en.BatchGetReceivedLikesRequest, context: Any
    ) -> en.BatchGetReceivedLikesResponse:
        def received(user_id: int) -> int:
            return sum(len(self._world.likes[v.id]) for v in self._world.videos.values() if v.author_id == user_id)

        found = [en.ReceivedLikes(user_id=number, like_count=received(number)) for number in request.user_ids]
        return en.BatchGetReceivedLikesResponse(received_likes=found)

    async def BatchGetComments(self, request: en.BatchGetCommentsRequest, context: Any) -> en.BatchGetCommentsResponse:
        found = [self._world.comments[number] for number in request.ids if number in self._world.comments]
        viewer = current_caller().user_id
        seen = [self._shown(c) for c in found if self._world.visible(c.video_id, viewer)]
        return en.BatchGetCommentsResponse(comments=seen)

    async def ListComments(self, request: en.ListCommentsRequest, context: Any) -> en.ListCommentsResponse:
        under = [c for c in self._world.comments.values() if c.video_id == request.video_id]
        chosen = [c for c in under if c.parent_id == request.parent_id]
        entries, following = page_of(
            chosen if request.parent_id else chosen[::-1], request.page_size, request.page_token
        )
        listed = [en.CommentListEntry(comment=self._shown(c), page_token=token) for c, token in entries]
        return en.ListCommentsResponse(entries=listed, next_page_token=following)

    async def StreamComments(
        self, request: en.StreamCommentsRequest, context: Any
    ) -> AsyncIterator[en.StreamCommentsResponse]:
        if self._world.visible(request.video_id, current_caller().user_id) is None:
            raise not_found("video_id", "video")
        queue: asyncio.Queue[en.Comment | None] = asyncio.Queue(1000)
        self._world.comment_streams.append(queue)
        try:
            for comment in list(self._world.comments.values()):
                if request.after_id and comment.id > request.after_id and comment.video_id == request.video_id:
                    yield en.StreamCommentsResponse(comment=comment)
            while True:
                written = await queue.get()
                if written is None:
                    raise unavailable("The stream is lost.")
                if written.video_id == request.video_id:
                    yield en.StreamCommentsResponse(comment=written)
        finally:
            self._world.comment_streams.remove(queue)


class FakeNotifications:
    """NotificationService: every fact is its own group."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _own(self) -> list[no.Notification]:
        viewer = current_caller().viewer()
        found = self._world.notifications[viewer]
        for notification in found:
            notification.read = notification.id <= self._world.watermark[viewer]
        return found

    def _unread(self) -> int:
        return sum(not notification.read for notification in self._own())

    async def ListNotifications(
        self, request: no.ListNotificationsRequest, context: Any
    ) -> no.ListNotificationsResponse:
        entries, following = page_of(self._own(), request.page_size, request.page_token)
        listed = [no.NotificationListEntry(notification=n, page_token=token) for n, token in entries]
        return no.ListNotificationsResponse(entries=listed, next_page_token=following)

    async def BatchGetNotifications(
        self, request: no.BatchGetNotificationsRequest, context: Any
    ) -> no.BatchGetNotificationsResponse:
        return no.BatchGetNotificationsResponse(notifications=[n for n in self._own() if n.id in request.ids])

    async def GetUnreadCount(self, request: no.GetUnreadCountRequest, context: Any) -> no.GetUnreadCountResponse:
        return no.GetUnreadCountResponse(unread_count=self._unread())

    async def MarkNotificationsRead(
        self, request: no.MarkNotificationsReadRequest, context: Any
    ) -> no.MarkNotificationsReadResponse:
        viewer = current_caller().viewer()
        self._world.watermark[viewer] = max(self._world.watermark[viewer], request.up_to_id)
        return no.MarkNotificationsReadResponse(unread_count=self._unread())

    async def StreamNotifications(
        self, request: no.StreamNotificationsRequest, context: Any
    ) -> AsyncIterator[no.StreamNotificationsResponse]:
        queue: asyncio.Queue[no.Notification] = asyncio.Queue(1000)
        self._world.notification_streams.append(queue)
        try:
            for missed in reversed(self._own()):
                if request.after_id and missed.id > request.after_id:
                    yield no.StreamNotificationsResponse(notification=missed)
            while True:
                fact = await queue.get()
                if fact in self._own():
                    yield no.StreamNotificationsResponse(notification=fact)
        finally:
            self._world.notification_streams.remove(queue)


def _session(session: Listed, current: int) -> ac.Session:
    return ac.Session(
        id=session.id,
        created_at=CREATED,
        last_used_at=CREATED,
        device=session.device,
        current=session.id == current,
    )
