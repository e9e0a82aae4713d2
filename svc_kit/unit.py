"""The part of a write transaction that every domain's port shares; the only module of ours that a `store.py`
imports."""

from __future__ import annotations

from typing import Protocol, TypeVar

from google.protobuf.message import Message

from svc_kit.caller import Caller

__all__ = ["Caller", "R", "Unit"]

R = TypeVar("R")


class Unit(Protocol):
    """What every write transaction offers beside its domain's rows."""

    def emit(self, *, entity: str, version: int, actor_id: int, **body: Message) -> int:
        """Put one event into the outbox; returns its id.

        `body` is one field of `Event.body`: `follow_created=FollowCreated(...)`.
        """
        ...

    async def reply(self, result: R) -> R:
        """Store the command's result under its idempotency key, if it has one, and pass it through. Call it last."""
        ...
