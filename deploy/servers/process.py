"""Processes that outlive the command that starts them: spawned, recognised again, measured, stopped."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path

from deploy.servers.engine import Server, ServerError

_LONGEST_LOG = 16 << 20
_UNPRIVILEGED = ("postgres", "mysql", "nobody")


def spawn(server: Server) -> None:
    """Start it in a session of its own, its output in its log."""
    if server.log.exists() and server.log.stat().st_size > _LONGEST_LOG:
        server.log.replace(server.log.with_suffix(".log.1"))
    env = environment(server.folder) | dict(server.env)
    command = list(server.command)
    if server.unprivileged:
        command = [*as_user(server.folder), *command]
    if server.memory and shutil.which("prlimit"):
        command = ["prlimit", f"--data={server.memory}:", "--core=0", "--", *command]
    with server.log.open("ab") as log:
        begun = subprocess.Popen(
            command,
            cwd=server.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server.pid_file.write_text(f"{begun.pid} {_started(begun.pid)} {_boot()}\n")


def environment(folder: Path) -> dict[str, str]:
    """What a server gets to see of ours: nothing that could change how it behaves."""
    (folder / "tmp").mkdir(exist_ok=True)
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
    }


def as_user(folder: Path) -> list[str]:
    """A prefix that runs a command as nobody in particular, who owns `folder`; empty when we are not root."""
    if os.geteuid() != 0:
        return []
    user = next(entry for name in _UNPRIVILEGED if (entry := _user(name)))
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    reachable = subprocess.run([*prefix, "test", "-r", str(folder)], check=False).returncode == 0
    # In a checkout that only root can enter, reading past the folders above is all that it may still do of root's.
    return prefix if reachable else [*prefix, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def running(server: Server) -> int | None:
    """The process id of this very server, or None: another process may have its number by now."""
    try:
        pid, started, boot = server.pid_file.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if boot == _boot() and started == _started(int(pid)) else None


def stop(server: Server, grace_s: float = 15) -> bool:
    """Ask it to stop, then make it; False when it did not run."""
    pid = running(server)
    if pid is None:
        server.pid_file.unlink(missing_ok=True)
        return False
    family = _family(pid)
    for name, patience_s in ((server.stop_signal, grace_s), ("KILL", 5)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, getattr(signal, f"SIG{name}"))
        until = time.monotonic() + patience_s
        while running(server) is not None and time.monotonic() < until:
            _reap(pid)
            time.sleep(0.02)
        if running(server) is None:
            break
    else:
        raise ServerError(f"process {pid} does not end")
    # A killed parent leaves its children (PostgreSQL's backends, Triton's stubs) to end by themselves; they may hang.
    for child, started in family.items():
        if _started(child) == started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
    server.pid_file.unlink(missing_ok=True)
    return True


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def memory(server: Server) -> int:
    """Bytes in RAM of the server and all its children, shared pages counted once (PSS)."""
    pid = running(server)
    return sum(_pss(each) for each in (pid, *_family(pid))) if pid else 0


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def _family(pid: int) -> dict[int, str]:
    """Every descendant with when it started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: dict[int, str] = {}
    todo = [pid]
    while todo:
        for child in children.get(todo.pop(), ()):
            found[child] = _started(child)
            todo.append(child)
    return found


def _stat(pid: int) -> list[str]:
    """The fields after the command's name: state, parent, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _started(pid: int) -> str:
    """When the kernel started it, in ticks since boot; empty for one that has ended."""
    fields = _stat(pid)
    return fields[19] if fields and fields[0] != "Z" else ""


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
