"""Where viewers are and on what, as their clients tell it, written behind: a read must not wait for it."""

from __future__ import annotations

from rank_svc.features.commands import FeatureCommands
from svc_kit.clock import Clock

MOST = 10_000
"""Viewers kept until the next write, and remembered after it; what is beyond is learned at their next request."""


class Surroundings:
    """What was told and not written yet."""

    def __init__(self, commands: FeatureCommands, clock: Clock) -> None:
        self._commands = commands
        self._clock = clock
        self._pending: dict[int, tuple[str, str, int, str]] = {}
        self._written: dict[int, tuple[str, str, int, str]] = {}

    def note(self, viewer_id: int, language: str, region: str, local_hour: int, device: str = "") -> None:
        """A viewer's client told this now. Logged-out viewers are not kept."""
        if not viewer_id or not (language or region or device) or len(self._pending) >= MOST:
            return
        offset = (local_hour - self._clock.now().hour + 12) % 24 - 12
        told = (language[:35], region[:8], offset, device)
        if self._written.get(viewer_id) != told:
            self._pending[viewer_id] = told

    async def flush(self) -> None:
        """Write what is pending; on failure it stays pending."""
        taken, self._pending = self._pending, {}
        if not taken:
            return
        try:
            await self._commands.note_viewers(taken)
        except BaseException:
            self._pending = taken | self._pending
            raise
        if len(self._written) + len(taken) > MOST:
            self._written.clear()
        self._written |= taken
