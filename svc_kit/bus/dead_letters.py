"""Another try for events that could not be handled."""

from __future__ import annotations

from dataclasses import dataclass

from svc_kit.bus.port import Bus
from svc_kit.bus.runner import Handler, decode
from svc_kit.telemetry import log
from svc_kit.transient import is_transient


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of a group's dead letters."""

    handled: int
    left: int


async def retry_dead_letters(bus: Bus, group: str, handler: Handler, limit: int = 1000) -> Retried:
    """Handle a group's `limit` oldest dead letters again, in order; those that succeed are forgotten.

    One that fails stays, and so do the later ones of its entity. A transient error ends the attempt and is raised.
    """
    letters = await bus.dead_letters(group, limit)
    held: set[str] = set()
    handled = 0
    for letter in letters:
        record = letter.delivery.record
        if record.entity in held:
            continue
        try:
            await handler.handle([decode(letter.delivery)])
        except Exception as error:
            if is_transient(error):
                raise
            held.add(record.entity)
            log(__name__).warning("dead letter failed again", group=group, event_id=record.event_id, error=str(error))
        else:
            await bus.forget([letter])
            handled += 1
    return Retried(handled, len(await bus.dead_letters(group, limit)))
