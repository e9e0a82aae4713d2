"""Scalars, and the conversions from protobuf that several types need."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NewType

import strawberry
from google.protobuf.timestamp_pb2 import Timestamp
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

SafeInt = NewType("SafeInt", int)

MAX_INT = 2**31 - 1
MAX_SAFE_INT = 2**53 - 1


def count(number: int) -> int:
    """A count as `Int`: what does not fit 32 bits is shown as the greatest that does."""
    return min(number, MAX_INT)


def moment(stamp: Timestamp) -> datetime:
    """The aware datetime of a timestamp."""
    return datetime.fromtimestamp(stamp.seconds + stamp.nanos / 1e9, UTC)


def _parse_safe(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise GraphQLError("SafeInt must be a whole number.")
    if abs(value) > MAX_SAFE_INT:
        raise GraphQLError(f"SafeInt must be between -{MAX_SAFE_INT} and {MAX_SAFE_INT}; it is {value}.")
    return value


def _serialize_safe(value: int) -> int:
    return min(int(value), MAX_SAFE_INT)


def _serialize_time(value: datetime) -> str:
    text = value.astimezone(UTC).isoformat(timespec="milliseconds")
    return f"{text.removesuffix('+00:00')}Z"


def _parse_time(value: object) -> datetime:
    try:
        parsed = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise GraphQLError(f"DateTime must be RFC 3339 with an offset, such as 2026-01-31T12:00:00Z; it is {value!r}.")
    return parsed.astimezone(UTC)


def scalars() -> dict[object, ScalarDefinition]:
    """Strawberry's `scalar_map` of this schema."""
    safe = strawberry.scalar(
        name="SafeInt",
        description="A whole number up to 2^53 - 1, as a JSON number.",
        serialize=_serialize_safe,
        parse_value=_parse_safe,
    )
    time = strawberry.scalar(
        name="DateTime",
        description="A moment, RFC 3339 in UTC: `2026-01-31T12:00:00.000Z`.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=_serialize_time,
        parse_value=_parse_time,
    )
    return {SafeInt: safe, datetime: time}
