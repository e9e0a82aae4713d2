"""A child process with a budget: it ends with its work, its budget, or this process, whichever is first."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_LIMITED = Path(__file__).with_name("limited.py")
_MOST_LINE = 64 * 1024
_TAIL_CHARS = 2000
OUT_OF_MEMORY = 77
"""Exit code of a child that says itself that its memory was too little."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a child may use."""

    cpu_s: int
    memory_bytes: int
    wall_s: float
    niceness: int = 10


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    code: int
    """Exit code; negative: the signal."""
    tail: str
    """The end of what it wrote to stderr."""
    timed_out: bool

    def over(self, budget: Budget) -> str:
        """Which part of its budget was too little; empty when none was."""
        if self.timed_out:
            return f"it was not done after {budget.wall_s:g} s by the clock"
        if self.code == -signal.SIGXCPU:
            return f"it used its {budget.cpu_s} s of processor time"
        if self.code == -signal.SIGKILL:
            return f"it was killed: {budget.cpu_s} s of processor time were used up, or the machine's memory was"
        if self.code == OUT_OF_MEMORY:
            return f"it needs more than its {budget.memory_bytes >> 20} MiB of memory"
        return ""


async def run_child(arguments: Sequence[str], given: bytes, budget: Budget, on_line: Callable[[str], None]) -> Ended:
    """Run a program (absolute, with arguments) with `given` on its stdin; lines of its stdout go to `on_line`. It and
    all that it started are dead when this returns or raises, also when it is cancelled."""
    limits = (os.getpid(), budget.cpu_s, budget.memory_bytes, budget.niceness)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(_LIMITED), *map(str, limits), *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # Few arenas: what is reserved for threads that do nothing would count as used.
        env={**os.environ, "MALLOC_ARENA_MAX": "2"},
        start_new_session=True,
    )
    assert process.stdin and process.stdout and process.stderr
    tail = bytearray()
    timed_out = False
    try:
        async with asyncio.timeout(budget.wall_s):
            with contextlib.suppress(ConnectionError):
                process.stdin.write(given)
                await process.stdin.drain()
            process.stdin.close()
            reading = asyncio.gather(_read(process.stdout, on_line), _keep_tail(process.stderr, tail))
            await reading
            await process.wait()
    except TimeoutError:
        timed_out = True
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, tail.decode("utf-8", "replace").strip(), timed_out)


async def _read(stream: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
    async for line in _lines(stream):
        on_line(line)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    pending = b""
    while chunk := await stream.read(_MOST_LINE):
        *whole, pending = (pending + chunk).split(b"\n")
        for line in whole:
            yield line[:_MOST_LINE].decode("utf-8", "replace")
        # A line of any length may come; what is beyond the bound is not kept.
        pending = pending[:_MOST_LINE]
    if pending:
        yield pending.decode("utf-8", "replace")


async def _keep_tail(stream: asyncio.StreamReader, tail: bytearray) -> None:
    while chunk := await stream.read(_MOST_LINE):
        tail += chunk
        del tail[:-_TAIL_CHARS]
