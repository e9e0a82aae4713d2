"""Who is blocked, as it was last known: what visibility is decided by while truth can't be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graph_svc.follows.store import Relation
from svc_kit.clock import Clock, now_ms
from svc_kit.last_known import LastKnown

LEARNT_AGAIN_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Blocks:
    """All blocks of one account, either way."""

    account_ids: tuple[int, ...]
    known_at_ms: int
    is_whole: bool = True
    """False: one was set or lifted since it was known which there are."""

    @property
    def version(self) -> int:
        """Of what is known at one moment, that nothing is known wins."""
        return 2 * self.known_at_ms + (not self.is_whole)


class KnownBlocks:
    """Learns whenever a viewer's relations are read; a block set or lifted makes both sides' unknown until then."""

    def __init__(self, known: LastKnown[Blocks], clock: Clock) -> None:
        self._known = known
        self._clock = clock

    def now_ms(self) -> int:
        """The time to give to `learnt`, taken before truth is read."""
        return now_ms(self._clock)

    async def learnt(self, viewer_id: int, account_ids: Sequence[int], read_at_ms: int) -> None:
        """Truth said, read from `read_at_ms` on, that these blocks there are."""
        blocks = Blocks(tuple(sorted(account_ids)), read_at_ms)
        held = self._known.held(viewer_id)
        same = held is not None and held.is_whole and held.account_ids == blocks.account_ids
        if held is None or not same or read_at_ms - held.known_at_ms > LEARNT_AGAIN_MS:
            await self._known.remember({viewer_id: blocks})

    async def changed(self, *account_ids: int) -> None:
        """A block between these was just committed."""
        unknown = Blocks((), now_ms(self._clock), is_whole=False)
        await self._known.remember(dict.fromkeys(account_ids, unknown))

    async def relations(self, viewer_id: int, user_ids: Sequence[int]) -> dict[int, Relation] | None:
        """How the viewer stands to each as far as blocks go, both ways as one: nobody is told who blocked whom. Follows
        and mutes are false. None when the viewer's blocks are not known."""
        blocks = (await self._known.recall([viewer_id])).get(viewer_id)
        if blocks is None or not blocks.is_whole:
            return None
        blocked = set(blocks.account_ids)
        return {user_id: Relation(user_id, blocks=user_id in blocked) for user_id in user_ids}
