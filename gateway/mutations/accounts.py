"""Accounts and sessions."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.mutations.answers import KeyedInput, Payload, answers, given, number_in
from gateway.types.fields import mutation
from gateway.types.scalars import moment
from gateway.types.session import Session
from gateway.types.user import User
from reelgraph.graph.v1 import accounts_pb2


@strawberry.input(description="Input of signUp. The idempotency key is ignored.")
class SignUpInput(KeyedInput):
    """An account to be."""

    username: str = strawberry.field(description="3 to 30 letters, digits, `_` or `.`.")
    password: str = strawberry.field(description="8 to 256 characters.")
    display_name: str | None = strawberry.field(
        default=strawberry.UNSET, description="Name shown to people, at most 50 characters; absent: the user name."
    )
    device: str | None = strawberry.field(
        default=strawberry.UNSET, description="What to call this device in the list of sessions."
    )


@strawberry.input(description="Input of logIn. The idempotency key is ignored.")
class LogInInput(KeyedInput):
    """Credentials."""

    username: str = strawberry.field(description="The user name.")
    password: str = strawberry.field(description="The password.")
    device: str | None = strawberry.field(
        default=strawberry.UNSET, description="What to call this device in the list of sessions."
    )


@strawberry.input(description="Input of refreshSession. For 60 s the same token and key answer as at first.")
class RefreshSessionInput(KeyedInput):
    """A refresh token is used once."""

    refresh_token: str = strawberry.field(description="The refresh token of the last answer.")


@strawberry.input(description="Input of logOut.")
class LogOutInput(KeyedInput):
    """Ends the session of the access token."""


@strawberry.input(description="Input of revokeSession.")
class RevokeSessionInput(KeyedInput):
    """One of the viewer's sessions."""

    session_id: strawberry.ID = strawberry.field(description="The session to end.")


@strawberry.input(description="Input of updateProfile. What is absent or null stays.")
class UpdateProfileInput(KeyedInput):
    """Changes."""

    display_name: str | None = strawberry.field(
        default=strawberry.UNSET, description="Name shown to people, 1 to 50 characters."
    )
    bio: str | None = strawberry.field(default=strawberry.UNSET, description="At most 160 characters; empty to clear.")
    avatar_upload_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="A READY upload of an image of the viewer's own; empty to clear."
    )


@strawberry.input(description="Input of setInterests.")
class SetInterestsInput(KeyedInput):
    """Replaces all interests."""

    hashtags: list[str] = strawberry.field(description="At most 50 hashtags, with or without `#`.")


@strawberry.type(description="Tokens of a session.")
class TokensPayload(Payload):
    """Never in the schema itself."""

    access_token: str | None = strawberry.field(
        default=None, description="For `Authorization: Bearer`; an EdDSA JWT that lives 10 minutes."
    )
    refresh_token: str | None = strawberry.field(default=None, description="For refreshSession, once; lives 30 days.")
    access_expires_at: datetime | None = strawberry.field(default=None, description="When the access token expires.")
    session: Session | None = strawberry.field(default=None, description="The session.")
    user: User | None = strawberry.field(default=None, description="Whose it is.")


@strawberry.type(description="Answer of signUp.")
class SignUpPayload(TokensPayload):
    """The first session."""


@strawberry.type(description="Answer of logIn.")
class LogInPayload(TokensPayload):
    """The new session."""


@strawberry.type(description="Answer of refreshSession.")
class RefreshSessionPayload(TokensPayload):
    """The new pair of tokens."""


@strawberry.type(description="Answer of logOut.")
class LogOutPayload(Payload):
    """The ended session."""

    revoked_session_id: strawberry.ID | None = strawberry.field(default=None, description="The ended session.")


@strawberry.type(description="Answer of revokeSession.")
class RevokeSessionPayload(Payload):
    """The ended session."""

    revoked_session_id: strawberry.ID | None = strawberry.field(default=None, description="The ended session.")


@strawberry.type(description="Answer of updateProfile.")
class UpdateProfilePayload(Payload):
    """The account after the change."""

    user: User | None = strawberry.field(default=None, description="The account after the change.")


@strawberry.type(description="Answer of setInterests.")
class SetInterestsPayload(Payload):
    """The account, and the interests as stored."""

    user: User | None = strawberry.field(default=None, description="The account.")
    hashtags: list[str] | None = strawberry.field(
        default=None, description="The interests as stored: normalised, without duplicates."
    )


@strawberry.type
class AccountMutations:
    """signUp, logIn and refreshSession are called as the gateway: it vouches for the client's address."""

    @mutation("Creates an account and its first session.")
    @answers(SignUpPayload, public=True)
    async def sign_up(self, info: Info, input: SignUpInput) -> SignUpPayload:
        request = accounts_pb2.SignUpRequest(
            username=input.username,
            password=input.password,
            display_name=input.display_name or "",
            device=input.device or "",
            client_address=info.context.client_address,
        )
        answer: accounts_pb2.SignUpResponse = await info.context.rpc_as_service(
            info.context.clients.accounts.SignUp, request
        )
        return _fill(SignUpPayload(), answer.credentials)

    @mutation("Begins a session. Wrong name and wrong password answer alike: INVALID_CREDENTIALS.")
    @answers(LogInPayload, public=True)
    async def log_in(self, info: Info, input: LogInInput) -> LogInPayload:
        request = accounts_pb2.LogInRequest(
            username=input.username,
            password=input.password,
            device=input.device or "",
            client_address=info.context.client_address,
        )
        answer: accounts_pb2.LogInResponse = await info.context.rpc_as_service(
            info.context.clients.accounts.LogIn, request
        )
        return _fill(LogInPayload(), answer.credentials)

    @mutation(
        "Exchanges a refresh token for new tokens. Using one again revokes the session, but for 60 s with the same key."
    )
    @answers(RefreshSessionPayload, public=True)
    async def refresh_session(self, info: Info, input: RefreshSessionInput) -> RefreshSessionPayload:
        request = accounts_pb2.RefreshSessionRequest(refresh_token=input.refresh_token, idempotency_key=input.key())
        answer: accounts_pb2.RefreshSessionResponse = await info.context.rpc_as_service(
            info.context.clients.accounts.RefreshSession, request
        )
        return _fill(RefreshSessionPayload(), answer.credentials)

    @mutation("Ends the session of this request.")
    @answers(LogOutPayload)
    async def log_out(self, info: Info, input: LogOutInput) -> LogOutPayload:
        context = info.context
        if context.caller.user_id and not context.caller.token:
            # On a socket the gateway acts for the viewer, and only it knows the socket's session.
            ended = await _revoke(info, context.caller.session_id, input.key())
        else:
            answer: accounts_pb2.LogOutResponse = await context.rpc(
                context.clients.accounts.LogOut, accounts_pb2.LogOutRequest(idempotency_key=input.key())
            )
            ended = answer.revoked_session_id
        context.session_ended(ended)
        return LogOutPayload(revoked_session_id=ids.encode(ids.Kind.SESSION, ended))

    @mutation("Ends one of the viewer's sessions.")
    @answers(RevokeSessionPayload)
    async def revoke_session(self, info: Info, input: RevokeSessionInput) -> RevokeSessionPayload:
        ended = await _revoke(info, number_in(ids.Kind.SESSION, input.session_id, "session_id"), input.key())
        info.context.session_ended(ended)
        return RevokeSessionPayload(revoked_session_id=ids.encode(ids.Kind.SESSION, ended))

    @mutation("Changes the viewer's profile.")
    @answers(UpdateProfilePayload)
    async def update_profile(self, info: Info, input: UpdateProfileInput) -> UpdateProfilePayload:
        context = info.context
        request = accounts_pb2.UpdateProfileRequest(
            display_name=given(input.display_name),
            bio=given(input.bio),
            avatar_upload_id=_avatar(given(input.avatar_upload_id)),
            idempotency_key=input.key(),
        )
        answer: accounts_pb2.UpdateProfileResponse = await context.rpc(context.clients.accounts.UpdateProfile, request)
        user = User.of(answer.account)
        context.loaders.users.prime(user.number, user)
        return UpdateProfilePayload(user=user)

    @mutation("Replaces the viewer's interests: hashtags that the feed starts from.")
    @answers(SetInterestsPayload)
    async def set_interests(self, info: Info, input: SetInterestsInput) -> SetInterestsPayload:
        context = info.context
        request = accounts_pb2.SetInterestsRequest(hashtags=input.hashtags, idempotency_key=input.key())
        answer: accounts_pb2.SetInterestsResponse = await context.rpc(context.clients.accounts.SetInterests, request)
        return SetInterestsPayload(user=User.of(answer.account), hashtags=list(answer.hashtags))


T = TypeVar("T", bound=TokensPayload)


def _fill(payload: T, credentials: accounts_pb2.Credentials) -> T:
    payload.access_token = credentials.access_token
    payload.refresh_token = credentials.refresh_token
    payload.access_expires_at = moment(credentials.access_expires_at)
    payload.session = Session.of(credentials.session, credentials.session.id)
    payload.user = User.of(credentials.account)
    return payload


async def _revoke(info: Info, session_number: int, key: str) -> int:
    request = accounts_pb2.RevokeSessionRequest(session_id=session_number, idempotency_key=key)
    answer: accounts_pb2.RevokeSessionResponse = await info.context.rpc(
        info.context.clients.accounts.RevokeSession, request
    )
    return answer.revoked_session_id


def _avatar(upload_id: str | None) -> int | None:
    if upload_id is None:
        return None
    return number_in(ids.Kind.UPLOAD, upload_id, "avatar_upload_id") if upload_id else 0
