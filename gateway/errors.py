"""From `AppError` to GraphQL: `userErrors` of a mutation, or `errors` with `extensions`."""

from __future__ import annotations

import re

from gateway.types.errors import UserError, UserErrorCode
from svc_kit.errors import AppError

# Names of the services that differ from the arguments of GraphQL.
_ARGUMENTS = {"page_size": "first", "page_token": "after", "cursor": "after"}


def camel(name: str) -> str:
    """`video_id` as `videoId`."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


def field_path(field: str) -> list[str]:
    """A violation's field (`watches.3.video_id`) as a GraphQL path."""
    return [_ARGUMENTS.get(part) or camel(part) for part in field.split(".")] if field else []


def words(message: str, field: str) -> str:
    """A message in the names of GraphQL, where it repeats the field's."""
    for part in {field, *field.split(".")}:
        # Only what no sentence would hold: `cursor` is a word of its own.
        if "_" in part:
            public = ".".join(field_path(part))
            message = re.sub(rf"\b{re.escape(part)}\b", public, message)
    return message


def to_user_errors(error: AppError) -> list[UserError]:
    """The entries of an error that has a `user_code`."""
    if not error.violations:
        assert error.user_code is not None
        return [UserError(field=None, message=error.message, code=UserErrorCode[error.user_code.name])]
    return [
        UserError(field=field_path(v.field) or None, message=words(v.message, v.field), code=UserErrorCode[v.code.name])
        for v in error.violations
    ]
