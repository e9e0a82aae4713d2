"""The folder of the servers: its places, its ports and its passwords, the same from one start to the next."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import secrets
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

# Below what the kernel hands out for outgoing connections, or a stopped server's port could be gone.
_FALLBACK = range(20_000, 32_000)

ROOT = Path(__file__).resolve().parents[2]


def default_root() -> Path:
    """`.servers` in the checkout, or where `REELGRAPH_SERVERS_DIR` says."""
    return Path(os.environ.get("REELGRAPH_SERVERS_DIR") or ROOT / ".servers").absolute()


class Folder:
    """Ports and passwords are drawn once and remembered; files with secrets are for their owner alone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()

    def make(self) -> None:
        (self.root / "bin").mkdir(parents=True, exist_ok=True)

    def of(self, engine: str) -> Path:
        """The engine's own folder."""
        path = self.root / engine
        path.mkdir(parents=True, exist_ok=True)
        return path

    @contextlib.contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """One process at a time does `name` in this folder."""
        with (self.root / f".{name}.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Read, change and write what is remembered, one at a time: threads and processes alike."""
        with self._lock, self.exclusive("state"):
            yield

    def secret(self, name: str) -> str:
        """The password of that name: letters and digits only, so that it needs no quoting anywhere."""
        known = self._read("secrets.json")
        if name in known:
            return known[name]
        with self._changing():
            known = self._read("secrets.json")
            if name not in known:
                known[name] = secrets.token_hex(16)
                self._write("secrets.json", known)
            return known[name]

    def port(self, name: str) -> int:
        """The port remembered for `name`."""
        return int(self._read("ports.json")[name].rpartition(":")[2])

    def has_ports(self, names: Iterable[str]) -> bool:
        """Whether all of these are chosen."""
        return self._read("ports.json").keys() >= set(names)

    def choose_ports(self, wanted: Mapping[str, int]) -> None:
        """Fix a port for each name: the remembered one, else the wanted one, else any that is free. To be called
        only while nothing of ours listens on them."""
        with self._changing():
            known = self._read("ports.json")
            for name, default in wanted.items():
                others = {int(at.rpartition(":")[2]) for other, at in known.items() if other != name}
                remembered = int(known[name].rpartition(":")[2]) if name in known else default
                candidates = itertools.chain((remembered, default), _FALLBACK)
                port = next(port for port in candidates if port not in others and is_free(port))
                known[name] = f"127.0.0.1:{port}"
            self._write("ports.json", known)

    def export(self, variables: Mapping[str, str]) -> None:
        """Change `env`, which a shell sources: addresses with their passwords, for what runs. An empty one goes."""
        with self._changing():
            before = self.exported()
            lines = {name: value for name, value in (before | dict(variables)).items() if value}
            if lines != before:
                text = "".join(f"export {name}='{value}'\n" for name, value in sorted(lines.items()))
                write_private(self.root / "env", text)

    def exported(self) -> dict[str, str]:
        """What `env` says now."""
        path = self.root / "env"
        found = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            name, _, value = line.removeprefix("export ").partition("=")
            found[name] = value.strip("'")
        return found

    def _read(self, name: str) -> dict[str, str]:
        path = self.root / name
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def _write(self, name: str, content: Mapping[str, str]) -> None:
        write_private(self.root / name, json.dumps(content, indent=1, sort_keys=True) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace a file at once by one that only its owner reads."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
        handle.write(text)
    os.replace(fresh, path)


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
