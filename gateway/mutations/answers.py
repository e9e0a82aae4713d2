"""What all mutations share: input with a key, payload with user errors, and the way from an error to the one or the
other kind of answer."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar, cast

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.errors import to_user_errors
from gateway.types.errors import UserError
from svc_kit.errors import AppError, UserCode, invalid, not_found, unauthenticated

Q = ParamSpec("Q")


@strawberry.input(description="What every mutation takes.")
class KeyedInput:
    """Never in the schema itself: each mutation's input inherits from it."""

    idempotency_key: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="16 to 64 characters. For 24 h the same key, viewer, mutation and input answers as at first; "
        "with another input: KEY_REUSED.",
    )

    def key(self) -> str:
        """The key; empty without one. Raises TOO_SHORT for an empty one: on the wire it would be none."""
        if self.idempotency_key == "":
            message = "idempotencyKey must have 16 to 64 characters; it is empty."
            raise invalid("idempotency_key", message, UserCode.TOO_SHORT)
        return self.idempotency_key or ""


@strawberry.type(description="What every mutation answers.")
class Payload:
    """Never in the schema itself: each mutation's payload inherits from it, and adds nullable fields with defaults."""

    user_errors: list[UserError] = strawberry.field(
        default_factory=list, description="What the input or the state caused; empty when it worked."
    )


P = TypeVar("P", bound=Payload)


def answers(
    payload: type[P], *, public: bool = False
) -> Callable[[Callable[Q, Awaitable[P]]], Callable[Q, Awaitable[P]]]:
    """Turn errors that input or state caused into `userErrors` of `payload`; others stay errors of the request. Unless
    `public`, nobody logged in is UNAUTHENTICATED, whatever the input is."""

    def decorate(resolve: Callable[Q, Awaitable[P]]) -> Callable[Q, Awaitable[P]]:
        @functools.wraps(resolve)
        async def run(*args: Q.args, **kwargs: Q.kwargs) -> P:
            # What a mutation before this one read may have changed since.
            context = cast(Info, kwargs["info"]).context
            context.fresh_loaders()
            if not public and not context.caller.user_id:
                raise unauthenticated()
            try:
                return await resolve(*args, **kwargs)
            except AppError as error:
                if error.user_code is None:
                    raise
                return payload(user_errors=to_user_errors(error))

        return run

    return decorate


def number_in(kind: ids.Kind, text: str, field: str) -> int:
    """The number within `kind` of an id in an input; raises NOT_FOUND at `field` for anything else: an opaque id that
    names nothing is an unknown one."""
    number = ids.number_of(kind, text)
    if number is None:
        raise not_found(field, kind.name.lower())
    return number


V = TypeVar("V")


def given(value: V | None) -> V | None:
    """The value of an optional input field; None when it is absent or null."""
    return None if value is strawberry.UNSET else value
