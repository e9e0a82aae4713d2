"""Leases, liveness of processes and crash points."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from svc_kit.db import Database
from svc_kit.faults import crash_points
from svc_kit.leases import Lease
from svc_kit.liveness import is_gone, new_holder
from tests.support.clock import FakeClock
from tests.support.databases import DATABASES
from tests.svc_kit.bus.support import database

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=DATABASES)
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with database(tmp_path, request.param) as db:
        yield db


async def test_one_holder_at_a_time_until_it_expires(db: Database) -> None:
    clock = FakeClock()
    one, two = (Lease(db, "job", new_holder(), 9000, clock) for _ in range(2))
    assert await one.ensure()
    assert not await two.ensure()
    clock.advance(5.9)
    assert one.held
    clock.advance(0.2)
    assert not one.held
    assert await one.ensure()
    clock.advance(8.9)
    assert not await two.ensure()
    clock.advance(0.2)
    assert await two.ensure()
    assert not await one.acquire()


async def test_a_released_lease_is_free(db: Database) -> None:
    clock = FakeClock()
    one, two = (Lease(db, "job", new_holder(), 9000, clock) for _ in range(2))
    assert await one.acquire()
    await two.release()
    assert not await two.acquire()
    await one.release()
    assert await two.acquire()


async def test_leases_of_other_names_are_apart(db: Database) -> None:
    clock = FakeClock()
    assert await Lease(db, "a", new_holder(), 9000, clock).acquire()
    assert await Lease(db, "b", new_holder(), 9000, clock).acquire()


async def test_the_lease_of_a_killed_process_is_taken_at_once(db: Database) -> None:
    clock = FakeClock()
    code = "from svc_kit.liveness import new_holder; print(new_holder(), flush=True); input()"
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT, stdin=pipe, stdout=pipe)
    assert child.stdout is not None
    holder = (await child.stdout.readline()).decode().strip()
    assert not is_gone(holder)
    assert await Lease(db, "job", holder, 9000, clock).acquire()
    assert not await Lease(db, "job", new_holder(), 9000, clock).acquire()
    child.kill()
    await child.wait()
    assert is_gone(holder)
    assert await Lease(db, "job", new_holder(), 9000, clock).acquire()


@pytest.mark.parametrize("holder", ["", "somebody", "other-boot/1/1/1#x", "?/abc#x", "a/b/c/d/e"])
def test_a_holder_that_cannot_be_seen_from_here_is_not_gone(holder: str) -> None:
    assert not is_gone(holder)


def _exit_code(value: str, mode: str, code: str) -> int:
    program = f"import asyncio; from svc_kit.faults import crash_points; p = crash_points(); {code}"
    environ = {**os.environ, "REELGRAPH_CRASH_AT": value, "REELGRAPH_MODE": mode}
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environ, check=False).returncode


def test_a_crash_point_kills_at_the_wanted_hit_only() -> None:
    twice = "asyncio.run(p('a')); asyncio.run(p('b')); asyncio.run(p('a'))"
    assert _exit_code("a:2", "development", twice) == -signal.SIGKILL
    assert _exit_code("a:3", "development", twice) == 0


def test_nothing_crashes_in_production() -> None:
    assert _exit_code("a", "production", "asyncio.run(p('a'))") == 0


async def test_unset_crash_points_do_nothing() -> None:
    await crash_points({})("anything")
