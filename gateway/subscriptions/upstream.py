"""A service's server-stream that goes on after a short loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from svc_kit.errors import AppError, Reason

if TYPE_CHECKING:
    from gateway.context import Context

MAX_LOSSES = 5
FIRST_PAUSE_S = 0.2


async def resumed(
    context: Context,
    method: Any,
    request: Callable[[int], Any],
    after: int,
    id_of: Callable[[Any], int] | None,
) -> AsyncGenerator[Any, None]:
    """Events of `method`, each once. When the service is lost, the stream is opened again after the last id, up to 5
    times in a row with growing pauses; then its error is raised. Without `id_of` every stream starts with the present
    state, so nothing needs to be remembered."""
    losses, last = 0, after
    while True:
        try:
            # The port's stream is an asynchronous generator: closing it cancels the call.
            stream = cast(AsyncGenerator[Any, None], context.stream(method, request(last)))
            async with aclosing(stream):
                async for event in stream:
                    losses = 0
                    number = id_of(event) if id_of else 0
                    if id_of and number <= last:
                        continue
                    last = number
                    yield event
            return
        except AppError as error:
            losses += 1
            if error.reason is not Reason.UNAVAILABLE or losses > MAX_LOSSES:
                raise
        await asyncio.sleep(FIRST_PAUSE_S * 2**losses)
