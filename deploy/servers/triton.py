"""Triton, from PyPI, where the wheel of NVIDIA's PyTriton carries the server. Its Python backend runs `model.py` of
`deploy/triton` in place of the native onnxruntime backend."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from deploy.servers import fetch
from deploy.servers.engine import Server, Unavailable
from deploy.servers.folder import ROOT, Folder

NAME = "triton"
VARIABLE = "REELGRAPH_TEST_TRITON_URL"
PORTS = {"triton": 28001}
LOCK = fetch.HERE / "wheels" / "triton.lock"
KEY_NAME = "triton-key"
_BACKENDS = ROOT / "deploy" / "triton" / "backends"
# All but health and metadata would do, but a server that tells strangers what it serves is no example.
_RESTRICTED = "health,metadata,inference,shared-memory,model-config,model-repository,statistics,trace,logging"
_SHARED_MEMORY = ("shm-default-byte-size=1048576", "shm-growth-byte-size=1048576")
# HTTP/2's preface and an empty SETTINGS frame, which a gRPC server answers with its own.
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))


def install(folder: Folder, say: Callable[[str], None]) -> None:
    if sys.version_info >= (3, 13) or os.uname().machine != "x86_64":
        raise Unavailable("Triton's wheels are for Python 3.11 and 3.12 on x86-64")
    _programs(fetch.wheels(folder, NAME, LOCK, say))


def _programs(venv: Path) -> Path:
    found = next(iter(venv.glob("lib/python3*/site-packages/pytriton/tritonserver")), None)
    if found is None:
        raise Unavailable("the wheel has no Triton for this machine")
    return found


def prepare(folder: Folder) -> None:
    place = folder.of(NAME)
    _copy_backends(place / "backends", _programs(place / "venv"))
    (place / "repository").mkdir(exist_ok=True)


def servers(folder: Folder) -> list[Server]:
    place, port = folder.of(NAME), folder.port("triton")
    programs = _programs(place / "venv")
    command = [
        str(programs / "bin" / "tritonserver"),
        f"--backend-directory={place / 'backends'}",
        f"--model-repository={place / 'repository'}",
        *("--model-control-mode=explicit", "--disable-auto-complete-config"),
        *("--grpc-address=127.0.0.1", f"--grpc-port={port}", "--allow-http=false", "--allow-metrics=false"),
        *("--allow-gpu-metrics=false", "--exit-timeout-secs=5"),
        *(f"--backend-config=python,{each}" for each in _SHARED_MEMORY),
        f"--backend-config=python,shm-region-prefix-name=reelgraph-{port}-",
        f"--grpc-restricted-protocol={_RESTRICTED}:{KEY_NAME}={folder.secret('triton')}",
    ]
    packages = programs.parent.parent
    libraries = (sysconfig.get_config_var("LIBDIR"), str(packages / "nvidia_pytriton.libs"))
    env = {
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
        "PATH": os.pathsep.join((str(place / "venv" / "bin"), os.environ.get("PATH", os.defpath))),
        "PYTHONPATH": str(packages),
        "VIRTUAL_ENV": str(place / "venv"),
        "OMP_NUM_THREADS": "1",
        # As it comes, malloc sets 64 MiB aside for nearly every thread, and there are many.
        "MALLOC_ARENA_MAX": "2",
    }
    return [Server(NAME, command, place, lambda: _answers(port), env=env)]


def _copy_backends(backends: Path, programs: Path) -> None:
    """The Python backend with the stub for this Python, and ours. Copies: Triton looks beside the files themselves."""
    stub = programs / "python_backend_stubs" / f"3.{sys.version_info.minor}" / "triton_python_backend_stub"
    copies = {path: backends / "python" / path.name for path in (*(programs / "backends" / "python").iterdir(), stub)}
    copies |= {path: backends / path.relative_to(_BACKENDS) for path in _BACKENDS.glob("*/model.py")}
    for source, target in copies.items():
        if source.is_file() and not (target.exists() and target.read_bytes() == source.read_bytes()):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copy2(source, target)


def _answers(port: int) -> bool:
    """Whether gRPC answers; it is opened once the server is ready."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(_GREETING)
            return connection.recv(9)[3:4] == b"\x04"
    except OSError:
        return False


def settle(folder: Folder) -> None:
    """Models are loaded by the tests."""


def url(folder: Folder) -> str:
    repository = folder.of(NAME) / "repository"
    return f"triton://:{folder.secret('triton')}@127.0.0.1:{folder.port('triton')}?repository={repository}"
