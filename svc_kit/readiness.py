"""Whether what a process stands on can be used. `/readyz` and `doctor` ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.responses import JSONResponse

from svc_kit.clock import Clock
from svc_kit.telemetry import log

Check = Callable[[], Awaitable[object]]
"""Raises, with a message for an operator, when a dependency can't be used."""

CHECK_S = 2.0
REUSED_S = 1.0
DATABASE = " database"
"""How names of checks end that stand for truth."""
_log = log(__name__)


async def failure_of(check: Check, within_s: float = CHECK_S) -> str:
    """Why a dependency can't be used; empty when it can."""
    try:
        async with asyncio.timeout(within_s):
            await check()
    except TimeoutError:
        return f"no answer within {within_s:g} s"
    except Exception as error:
        return str(error) or type(error).__name__
    return ""


class Readiness:
    """Runs the checks of a process, at most once a second however often it is asked: anybody may ask."""

    def __init__(self, checks: Mapping[str, Check], clock: Clock) -> None:
        self._checks = dict(checks)
        self._clock = clock
        self._missing: list[str] = []
        self._asked_at = float("-inf")
        self._one = asyncio.Lock()
        self._leaving = False

    def leave(self) -> None:
        """From now on the process is not ready, whatever it could still do: new work should go elsewhere."""
        self._leaving = True

    async def answer(self, down: Sequence[str] = ()) -> JSONResponse:
        """The answer of `/readyz`; see `readiness_answer`."""
        if self._leaving:
            return JSONResponse({"status": "leaving", "missing": []}, 503, headers={"Cache-Control": "no-store"})
        return readiness_answer(down, await self.missing())

    async def missing(self) -> Sequence[str]:
        """The names of what can't be used. Why is in the log: it may tell of paths and addresses."""
        async with self._one:
            if self._clock.monotonic() - self._asked_at >= REUSED_S:
                failures = await asyncio.gather(*(failure_of(check) for check in self._checks.values()))
                found = {name: why for name, why in zip(self._checks, failures, strict=True) if why}
                for name, why in found.items():
                    _log.warning("not ready", dependency=name, why=why)
                self._missing = list(found)
                self._asked_at = self._clock.monotonic()
            return self._missing


def readiness_answer(down: Sequence[str], missing: Sequence[str]) -> JSONResponse:
    """The answer of `/readyz`: 503 without a service of `down` or without a database. What else is `missing` costs a
    part of the answers (no new videos, yesterday's model): sending everybody away would cost them all."""
    gone = [*down, *missing]
    if down or any(name.endswith(DATABASE) for name in missing):
        body: dict[str, object] = {"status": "unavailable", "missing": gone}
    else:
        body = {"status": "degraded", "missing": gone} if gone else {"status": "ok"}
    return JSONResponse(body, 503 if body["status"] == "unavailable" else 200, headers={"Cache-Control": "no-store"})
