"""Something done again and again beside the servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from svc_kit.clock import Clock
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

_log = log(__name__)


def every(
    clock: Clock, seconds: float, step: Callable[[], Awaitable[object]], name: str
) -> Callable[[], Awaitable[None]]:
    """What a `Job` runs: `step` at once and then every `seconds`. While a dependency is down it goes on trying."""

    async def run() -> None:
        while True:
            try:
                await step()
            except Exception as error:
                if not is_transient(error):
                    raise
                _log.warning("job waits", job=name, error=str(error))
            await clock.sleep(seconds)

    return run
