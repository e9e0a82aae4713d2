"""Log-in sessions."""

from __future__ import annotations

from datetime import datetime

import strawberry

from gateway import ids
from gateway.types.node import Node
from gateway.types.scalars import moment
from reelgraph.graph.v1 import accounts_pb2


@strawberry.type(description="A place where the viewer is logged in.")
class Session(Node):
    """Answered to its owner alone."""

    number: strawberry.Private[int]
    created_at: datetime = strawberry.field(description="When it began.")
    last_used_at: datetime = strawberry.field(description="When it was last refreshed.")
    device: str = strawberry.field(description="What the client called its device; may be empty.")
    current: bool = strawberry.field(description="Whether this request belongs to it.")

    @classmethod
    def of(cls, session: accounts_pb2.Session, current_number: int) -> Session:
        """From its message; `current_number` is the session of this request."""
        return cls(
            id=ids.encode(ids.Kind.SESSION, session.id),
            number=session.id,
            created_at=moment(session.created_at),
            last_used_at=moment(session.last_used_at),
            device=session.device,
            current=session.current or session.id == current_number,
        )
