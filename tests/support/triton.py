"""A real Triton in tests."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode, urlsplit, urlunsplit

import pytest

from rank_svc.scorers.stores.triton_files import PREFIX
from rank_svc.scorers.stores.triton_server import TritonServer, parse
from tests.support.engines import ADDRESSES, server_url


def triton_url(folder: Path, **options: object) -> str:
    """The address of the running one, with its key and `folder` as its repository; skips the test without one."""
    parts = urlsplit(server_url("triton"))
    return urlunsplit(parts._replace(query=urlencode({"repository": folder, **options})))


async def unload_all() -> None:
    """Leave nothing of ours on the running one: what it has loaded costs memory until it ends."""
    if not os.environ.get(ADDRESSES["triton"]):
        return
    server = TritonServer(parse(triton_url(Path("/"))))
    for name in await server.last_asked():
        if name.startswith(PREFIX):
            await server.unload(name)
    await server.close()


def kill_what_runs(model: str) -> None:
    """Kill the processes in which the Python backend runs a model; skips the test where it has none here."""
    killed = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            if "triton_python_backend_stub" in command and model in command:
                os.kill(int(folder.name), signal.SIGKILL)
                killed += 1
    if not killed:
        pytest.skip("Triton runs models elsewhere")
