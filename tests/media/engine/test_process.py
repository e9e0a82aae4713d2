"""Children end with their job, with their owner, and at their limits."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from media_svc.transcode.engine.ladder import plan_ladder
from media_svc.transcode.engine.probe import ProbeLimits, probe
from media_svc.transcode.engine.process import ChildLimits, run_limited
from media_svc.transcode.engine.runner import EncodeLimits, run_ladder
from media_svc.transcode.engine.tools import FfmpegTools

ROOT = Path(__file__).resolve().parents[3]
LIMITS = ChildLimits(cpu_s=30, memory_bytes=2 << 30, file_bytes=1 << 20, wall_s=60)
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-c", code]


def working_in(folder: Path) -> list[int]:
    """Processes whose working directory is this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "cwd") == str(folder):
                    found.append(int(entry.name))
            except OSError:  # ended meanwhile, or not ours
                continue
    return found


def running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def gone(pid: int) -> None:
    while running(pid):  # the kernel tells nobody but the parent, which is dead
        await asyncio.sleep(0.02)


@linux_only
async def test_cancelling_a_job_kills_its_child(studio: Any, tools: FfmpegTools, tmp_path: Path) -> None:
    source = studio.clip("busy.mp4", "360x640", 30, sound=False)
    info = await probe(source, ProbeLimits(), tools)
    started = asyncio.Event()

    async def note(percent: int) -> None:
        del percent
        started.set()

    job = asyncio.create_task(
        run_ladder(source, tmp_path, info, plan_ladder(info), tools, on_progress=note, limits=EncodeLimits())
    )
    await started.wait()
    assert working_in(tmp_path)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert not working_in(tmp_path)


@linux_only
async def test_what_the_progress_callback_raises_stops_the_child_and_is_raised(
    studio: Any, tools: FfmpegTools, tmp_path: Path
) -> None:
    source = studio.clip("busy.mp4", "360x640", 30, sound=False)
    info = await probe(source, ProbeLimits(), tools)

    async def lose_the_lease(percent: int) -> None:
        raise PermissionError(f"lost at {percent} %")

    with pytest.raises(PermissionError, match="lost at"):
        await run_ladder(
            source, tmp_path, info, plan_ladder(info), tools, on_progress=lose_the_lease, limits=EncodeLimits()
        )
    assert not working_in(tmp_path)


@linux_only
async def test_a_child_dies_when_its_owner_is_killed(tmp_path: Path) -> None:
    owner_code = (
        "import asyncio, sys\n"
        "from media_svc.transcode.engine.process import ChildLimits, run_limited\n"
        "async def show(line): print(line, flush=True)\n"
        "child = [sys.executable, '-I', '-c', 'import os,time; print(os.getpid(), flush=True); time.sleep(300)']\n"
        "limits = ChildLimits(30, 2 << 30, 1 << 20, 300.0)\n"
        "asyncio.run(run_limited(child, limits, on_stdout=show))\n"
    )
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", owner_code, stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert owner.stdout is not None
    child = int(await owner.stdout.readline())
    assert running(child)
    owner.send_signal(signal.SIGKILL)
    await owner.wait()
    async with asyncio.timeout(20):
        await gone(child)


async def test_a_child_stops_at_its_cpu_limit() -> None:
    limits = ChildLimits(cpu_s=1, memory_bytes=2 << 30, file_bytes=1 << 20, wall_s=60)
    ended = await run_limited(python("while True: pass"), limits)
    assert ended.returncode == -signal.SIGXCPU


async def test_a_child_stops_at_its_file_limit(tmp_path: Path) -> None:
    code = f"import signal; signal.signal(signal.SIGXFSZ, 0); open({str(tmp_path / 'big')!r}, 'wb').write(bytes(2<<20))"
    ended = await run_limited(python(code), LIMITS)
    assert ended.returncode == -signal.SIGXFSZ
    assert (tmp_path / "big").stat().st_size <= 1 << 20


async def test_a_child_stops_at_its_memory_limit() -> None:
    limits = ChildLimits(cpu_s=30, memory_bytes=256 << 20, file_bytes=1 << 20, wall_s=60)
    ended = await run_limited(python("bytes(1 << 30)"), limits)
    assert ended.returncode == 1 and "MemoryError" in ended.stderr_tail


async def test_a_child_is_killed_at_its_deadline() -> None:
    limits = ChildLimits(cpu_s=30, memory_bytes=2 << 30, file_bytes=1 << 20, wall_s=0.3)
    ended = await run_limited(python("import time; time.sleep(300)"), limits)
    assert ended.timed_out and ended.returncode == -signal.SIGKILL


async def test_what_is_kept_of_a_chatty_child_is_bounded() -> None:
    code = "import sys; print(*['x' * 1000] * 5000, 'y' * 999999, sep=chr(10), end='', file=sys.stderr)"
    ended = await run_limited(python(code), LIMITS)
    assert ended.returncode == 0
    assert len(ended.stderr_tail) < 20_000 and ended.stderr_tail.endswith("yyy")


async def test_a_child_inherits_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELGRAPH_KEY", "secret")
    seen: list[str] = []

    async def keep(line: str) -> None:
        seen.append(line)

    await run_limited(python("import os; print(sorted(os.environ))"), LIMITS, on_stdout=keep)
    assert seen and "REELGRAPH_KEY" not in seen[0]
