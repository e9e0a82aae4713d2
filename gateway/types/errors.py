"""User errors of mutations."""

from __future__ import annotations

from enum import Enum

import strawberry


@strawberry.enum(description="What a person can do about an error. More may come.")
class UserErrorCode(Enum):
    """`reelgraph.common.v1.UserErrorCode`."""

    REQUIRED = strawberry.enum_value("REQUIRED", description="The field is needed and was not given.")
    INVALID = strawberry.enum_value("INVALID", description="The field's value makes no sense.")
    TOO_SHORT = strawberry.enum_value("TOO_SHORT", description="Fewer characters than the least.")
    TOO_LONG = strawberry.enum_value("TOO_LONG", description="More characters or items than the greatest.")
    TOO_LARGE = strawberry.enum_value("TOO_LARGE", description="More bytes, or a greater number, than the limit.")
    TAKEN = strawberry.enum_value("TAKEN", description="Somebody else has this name.")
    NOT_FOUND = strawberry.enum_value("NOT_FOUND", description="There is no such thing, or the viewer may not see it.")
    FORBIDDEN = strawberry.enum_value("FORBIDDEN", description="The viewer may see the thing but not change it.")
    CONFLICT = strawberry.enum_value("CONFLICT", description="The thing is in a state that does not allow this.")
    INCOMPLETE = strawberry.enum_value("INCOMPLETE", description="Parts of an upload are missing.")
    INVALID_CREDENTIALS = strawberry.enum_value(
        "INVALID_CREDENTIALS", description="User name and password, or the refresh token, are not right."
    )
    KEY_REUSED = strawberry.enum_value("KEY_REUSED", description="The idempotency key came before with another input.")


@strawberry.type(description="Something that the input or the state caused, and that a person can put right.")
class UserError:
    """See `svc_kit.errors.Violation`."""

    field: list[str] | None = strawberry.field(
        description='The path within the input, such as `["watches", "3", "videoId"]`; null when no field is at fault.'
    )
    message: str = strawberry.field(description="For a person: field, limit and value.")
    code: UserErrorCode = strawberry.field(description="For a program.")
