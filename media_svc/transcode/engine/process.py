"""One child process with limits, read to its end or killed with its whole group."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LIMITED_EXEC = Path(__file__).with_name("limited_exec.py")
_KEPT_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT")
_MAX_LINE = 64 * 1024
_TAIL_LINES = 40
_TAIL_LINE_CHARS = 400


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """What one child may use: CPU seconds, address space and size of any one file in bytes, seconds by the
    clock."""

    cpu_s: int
    memory_bytes: int
    file_bytes: int
    wall_s: float
    niceness: int = 10


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended. `returncode` is negative for a signal; `stderr_tail` is bounded."""

    returncode: int
    stderr_tail: str
    timed_out: bool


async def run_limited(
    argv: Sequence[str],
    limits: ChildLimits,
    *,
    cwd: Path | None = None,
    extra_env: Mapping[str, str] | None = None,
    on_stdout: Callable[[str], Awaitable[None]] | None = None,
    on_stderr: Callable[[str], None] | None = None,
) -> Finished:
    """Runs `argv` (an absolute program first) under `limits`; its group is dead when this returns or raises.

    Lines go to the callbacks as they come. What a callback raises, and cancellation, kill the child and go
    on.
    """
    process = await asyncio.create_subprocess_exec(
        *_limited(argv, limits),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env=_environment(extra_env or {}),
        start_new_session=True,
    )
    tail: list[str] = []
    timed_out = False
    try:
        async with asyncio.timeout(limits.wall_s):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_drain_stdout(process, on_stdout))
                tasks.create_task(_drain_stderr(process, on_stderr, tail))
            await process.wait()
    except TimeoutError:
        timed_out = True
    except BaseExceptionGroup as group:
        # The callers know the single error that a callback raised, not the group around it.
        raise group.exceptions[0] from None
    finally:
        await _kill_group(process)
    assert process.returncode is not None
    return Finished(process.returncode, "\n".join(tail), timed_out)


def _limited(argv: Sequence[str], limits: ChildLimits) -> list[str]:
    options = {
        "--parent": os.getpid(),
        "--cpu-s": limits.cpu_s,
        "--memory-bytes": limits.memory_bytes,
        "--file-bytes": limits.file_bytes,
        "--nice": limits.niceness,
    }
    flat = [part for name, value in options.items() for part in (name, str(value))]
    return [sys.executable, "-I", "-S", str(_LIMITED_EXEC), *flat, "--", *argv]


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    # The child parses hostile bytes: it gets no secrets of ours, and few malloc arenas so that the
    # address-space limit measures use and not reservations.
    kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "2", **extra}


async def _kill_group(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _drain_stdout(
    process: asyncio.subprocess.Process, on_stdout: Callable[[str], Awaitable[None]] | None
) -> None:
    assert process.stdout is not None
    async for line in _lines(process.stdout):
        if on_stdout is not None:
            await on_stdout(line)


async def _drain_stderr(
    process: asyncio.subprocess.Process, on_stderr: Callable[[str], None] | None, tail: list[str]
) -> None:
    assert process.stderr is not None
    async for line in _lines(process.stderr):
        if on_stderr is not None:
            on_stderr(line)
        tail.append(line[:_TAIL_LINE_CHARS])
        del tail[:-_TAIL_LINES]


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Lines of any length without ever holding more than `_MAX_LINE` bytes; the rest of a longer one is
    dropped."""
    pending = b""
    while chunk := await stream.read(16 * 1024):
        *whole, pending = (pending + chunk).split(b"\n")
        for line in whole:
            yield line[:_MAX_LINE].decode("utf-8", "replace").rstrip("\r")
        pending = pending[:_MAX_LINE]
    if pending:
        yield pending.decode("utf-8", "replace")
