"""What changes notifications: the watermark."""

from __future__ import annotations

from dataclasses import dataclass

from graph_svc.notifications.queries import NotificationQueries
from graph_svc.notifications.store import MarkStore, NotificationLog
from svc_kit.caller import Caller
from svc_kit.errors import not_found
from svc_kit.uow import UnitOfWork, idempotent


@dataclass(frozen=True, slots=True)
class MarkResult:
    """What is left to read."""

    unread_count: int


class NotificationCommands:
    """Moves watermarks."""

    def __init__(
        self, store: MarkStore, log: NotificationLog, queries: NotificationQueries, replies: UnitOfWork
    ) -> None:
        self._store = store
        self._log = log
        self._queries = queries
        self.replies = replies

    @idempotent
    async def mark_read(self, caller: Caller, up_to_id: int) -> MarkResult:
        """Everything up to one of the caller's facts is read; never back. NOT_FOUND on `up_to_id` for another id."""
        viewer = caller.viewer()
        if not await self._log.get(viewer, [up_to_id]):
            raise not_found("up_to_id", "notification")
        mark = max(up_to_id, await self._store.mark(viewer))
        result = MarkResult(await self._queries.unread_count(viewer, mark))
        async with self._store.begin(caller) as tx:
            await tx.raise_mark(viewer, up_to_id)
            return await tx.reply(result)
