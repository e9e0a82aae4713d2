"""What has to happen to accounts by and by: signing keys rotate, sessions that are over are removed."""

from __future__ import annotations

from graph_svc.accounts.signing import KeyRing
from graph_svc.accounts.store import AccountStore
from svc_kit.clock import Clock, now_ms

EVERY_S = 300.0
KEEP_ENDED_MS = 24 * 3600 * 1000
BATCH = 500


class AccountUpkeep:
    """Runs in every process; what two of them do at once is done once."""

    def __init__(self, store: AccountStore, keys: KeyRing, clock: Clock) -> None:
        self._store = store
        self._keys = keys
        self._clock = clock

    async def once(self) -> int:
        """Rotate keys where due, remove sessions that ended a day ago; returns how many sessions."""
        await self._keys.rotate()
        removed = 0
        while True:
            batch = await self._store.prune_sessions(now_ms(self._clock) - KEEP_ENDED_MS, BATCH)
            removed += batch
            if batch < BATCH:
                return removed
