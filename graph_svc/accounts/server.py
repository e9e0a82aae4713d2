"""AccountService: protobuf to domain and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import unquote

from google.protobuf.timestamp_pb2 import Timestamp

from graph_svc.accounts.commands import AccountCommands
from graph_svc.accounts.credentials import Credentials
from graph_svc.accounts.queries import AccountQueries
from graph_svc.accounts.sessions import SessionCommands
from graph_svc.accounts.signing import KeyRing
from graph_svc.accounts.store import Account, Session
from reelgraph.graph.v1 import accounts_pb2 as pb
from reelgraph.graph.v1.accounts_pb2_grpc import AccountServiceServicer
from svc_kit.caller import Caller, current_caller
from svc_kit.errors import forbidden
from svc_kit.rpc.server import Context


class AccountServicer(AccountServiceServicer):
    """See `accounts.proto`."""

    def __init__(
        self,
        accounts: AccountCommands,
        sessions: SessionCommands,
        queries: AccountQueries,
        keys: KeyRing,
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._queries = queries
        self._keys = keys

    async def SignUp(self, request: pb.SignUpRequest, context: Context) -> pb.SignUpResponse:
        caller = current_caller()
        credentials = await self._accounts.sign_up(
            caller,
            request.username,
            request.password,
            display_name=request.display_name,
            device=request.device,
            address=_address(caller, request.client_address, context),
        )
        return pb.SignUpResponse(credentials=_credentials(credentials))

    async def LogIn(self, request: pb.LogInRequest, context: Context) -> pb.LogInResponse:
        caller = current_caller()
        credentials = await self._accounts.log_in(
            caller,
            request.username,
            request.password,
            device=request.device,
            address=_address(caller, request.client_address, context),
        )
        return pb.LogInResponse(credentials=_credentials(credentials))

    async def RefreshSession(self, request: pb.RefreshSessionRequest, context: Context) -> pb.RefreshSessionResponse:
        credentials = await self._sessions.refresh(current_caller(), request.refresh_token)
        return pb.RefreshSessionResponse(credentials=_credentials(credentials))

    async def LogOut(self, request: pb.LogOutRequest, context: Context) -> pb.LogOutResponse:
        ended = await self._sessions.log_out(current_caller())
        return pb.LogOutResponse(revoked_session_id=ended.session_id)

    async def RevokeSession(self, request: pb.RevokeSessionRequest, context: Context) -> pb.RevokeSessionResponse:
        ended = await self._sessions.revoke(current_caller(), request.session_id)
        return pb.RevokeSessionResponse(revoked_session_id=ended.session_id)

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Context) -> pb.ListSessionsResponse:
        caller = current_caller()
        found = await self._queries.sessions(caller)
        return pb.ListSessionsResponse(sessions=[_session(s, caller.session_id) for s in found])

    async def BatchGetSessionStates(
        self, request: pb.BatchGetSessionStatesRequest, context: Context
    ) -> pb.BatchGetSessionStatesResponse:
        active = await self._queries.active_sessions(request.session_ids)
        return pb.BatchGetSessionStatesResponse(active_session_ids=active)

    async def StreamRevokedSessions(
        self, request: pb.StreamRevokedSessionsRequest, context: Context
    ) -> AsyncIterator[pb.StreamRevokedSessionsResponse]:
        async with self._queries.watch_revoked() as session_ids:
            # Tells the client that it is watching: what it reads from truth afterwards can't miss a revocation.
            await context.send_initial_metadata(())
            async for session_id in session_ids:
                yield pb.StreamRevokedSessionsResponse(session_id=session_id)

    async def ListSigningKeys(self, request: pb.ListSigningKeysRequest, context: Context) -> pb.ListSigningKeysResponse:
        return pb.ListSigningKeysResponse(jwks_json=await self._keys.jwks())

    async def BatchGetAccounts(
        self, request: pb.BatchGetAccountsRequest, context: Context
    ) -> pb.BatchGetAccountsResponse:
        found = await self._queries.by_id(request.ids)
        return pb.BatchGetAccountsResponse(accounts=map(_account, found))

    async def BatchGetAccountsByUsername(
        self, request: pb.BatchGetAccountsByUsernameRequest, context: Context
    ) -> pb.BatchGetAccountsByUsernameResponse:
        found = await self._queries.by_username(request.usernames)
        return pb.BatchGetAccountsByUsernameResponse(accounts=map(_account, found))

    async def ListAccounts(self, request: pb.ListAccountsRequest, context: Context) -> pb.ListAccountsResponse:
        page = await self._queries.page(request.page_size, request.page_token)
        return pb.ListAccountsResponse(accounts=map(_account, page.accounts), next_page_token=page.next_page_token)

    async def UpdateProfile(self, request: pb.UpdateProfileRequest, context: Context) -> pb.UpdateProfileResponse:
        account = await self._accounts.update_profile(
            current_caller(),
            display_name=request.display_name if request.HasField("display_name") else None,
            bio=request.bio if request.HasField("bio") else None,
            avatar_upload_id=request.avatar_upload_id if request.HasField("avatar_upload_id") else None,
        )
        return pb.UpdateProfileResponse(account=_account(account))

    async def SetInterests(self, request: pb.SetInterestsRequest, context: Context) -> pb.SetInterestsResponse:
        chosen = await self._accounts.set_interests(current_caller(), list(request.hashtags))
        return pb.SetInterestsResponse(account=_account(chosen.account), hashtags=chosen.hashtags)

    async def BatchGetInterests(
        self, request: pb.BatchGetInterestsRequest, context: Context
    ) -> pb.BatchGetInterestsResponse:
        found = await self._queries.interests(request.account_ids)
        return pb.BatchGetInterestsResponse(
            interests=[pb.Interests(account_id=user_id, hashtags=tags) for user_id, tags in found.items()]
        )


def _address(caller: Caller, told: str, context: Context) -> str:
    """The client's address: as a service tells it, else the peer's own; empty for a Unix socket."""
    if told:
        if not caller.is_service:
            raise forbidden("client_address", "Only a service may set client_address.")
        return told
    kind, _, rest = unquote(context.peer()).partition(":")
    if caller.is_service or kind not in ("ipv4", "ipv6"):
        return ""
    return rest.rpartition(":")[0].strip("[]")


def _time(milliseconds: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMilliseconds(milliseconds)
    return stamp


def _account(account: Account) -> pb.Account:
    return pb.Account(
        id=account.id,
        username=account.username,
        display_name=account.display_name,
        bio=account.bio,
        avatar_url=account.avatar_url,
        created_at=_time(account.created_at_ms),
    )


def _session(session: Session, current_id: int) -> pb.Session:
    return pb.Session(
        id=session.id,
        created_at=_time(session.created_at_ms),
        last_used_at=_time(session.last_used_at_ms),
        device=session.device,
        current=session.id == current_id,
    )


def _credentials(credentials: Credentials) -> pb.Credentials:
    return pb.Credentials(
        access_token=credentials.access_token,
        refresh_token=credentials.refresh_token,
        access_expires_at=_time(credentials.access_expires_at_ms),
        session=_session(credentials.session, credentials.session.id),
        account=_account(credentials.account),
    )
