"""Public faces of accounts, and what was last known of them while their database can't be read."""

from __future__ import annotations

from collections.abc import Sequence

from graph_svc.accounts.store import Account, Faces
from svc_kit.errors import AppError
from svc_kit.last_known import TRUTH_S, LastKnown, within
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

_log = log(__name__)


class RememberedFaces:
    """`Faces` that outlive an outage of truth. Nothing that proves anybody does: passwords, sessions and tokens are
    read from truth or not at all."""

    def __init__(self, truth: Faces, known: LastKnown[Account]) -> None:
        self._truth = truth
        self._known = known

    async def accounts(self, ids: Sequence[int]) -> dict[int, Account]:
        try:
            async with within(TRUTH_S):
                found = await self._truth.accounts(ids)
        except AppError as error:
            if not is_transient(error):
                raise
            _log.warning("accounts are answered from what was known", reason=error.reason.value)
            return await self._known.recall(ids)
        await self._known.remember(found)
        return found
