"""What an engine's module opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncEngine


class Reads(Protocol):
    """Runs one statement on a driver's own connection, without a transaction."""

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Any]:
        """The rows, each a sequence of its columns. Raises what `svc_kit.databases.errors` makes of failures."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine, and how the dialects differ for `svc_kit.db.Database`."""

    sqlalchemy: AsyncEngine
    """Every statement stands alone: transactions are begun and ended by statements of their own."""
    begin: str
    """Begins a write transaction."""
    begin_snapshot: Sequence[str]
    """Begins one whose reads all see one moment."""
    has_one_writer: bool = False
    direct: Reads | None = None
    """A shorter way for reads that are asked all the time, where the driver has one."""
