"""PostgreSQL, from Debian."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from deploy.servers import fetch, process
from deploy.servers.engine import Server, ServerError
from deploy.servers.folder import Folder, write_private

NAME = "postgres"
VARIABLE = "REELGRAPH_TEST_POSTGRES_URL"
PORTS = {"postgres": 25432}
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # No socket file: its path would have to be short, and nobody needs it.
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "password_encryption": "scram-sha-256",
    "log_min_duration_statement": "1s",
    "jit": "off",
}


def install(folder: Folder, say: Callable[[str], None]) -> None:
    fetch.program("postgres", "postgresql", say)


def prepare(folder: Folder) -> None:
    place = folder.of(NAME)
    if not (place / "data").exists():
        _make(folder, place)
    _let_go(place / "data")
    settings = SETTINGS | {"port": str(folder.port("postgres"))}
    write_private(place / "postgresql.conf", "".join(f"{key} = '{value}'\n" for key, value in settings.items()))


def _let_go(data: Path) -> None:
    """Wait for what a killed server left: until its last process is gone, another one will not start."""
    until = time.monotonic() + 10
    while _leftovers(data) and time.monotonic() < until:
        time.sleep(0.05)


def _leftovers(data: Path) -> bool:
    lock = data / "postmaster.pid"
    if not lock.exists():
        return False
    # Killed and not buried yet, it still counts as running.
    if Path("/proc", lock.read_text().split()[0]).exists():
        return True
    for folder in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if folder.readlink() == data.resolve():
                return True
    return False


def servers(folder: Folder) -> list[Server]:
    place, port = folder.of(NAME), folder.port("postgres")
    data = place / "data"
    is_ready = [fetch.need("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]

    def ready() -> bool:
        try:
            fetch.run(is_ready, within_s=5)
        except ServerError:
            return False
        return True

    command = [
        fetch.need("postgres"),
        *("-D", str(data), "-c", f"config_file={place / 'postgresql.conf'}"),
        *("-c", f"hba_file={data / 'pg_hba.conf'}", "-c", f"ident_file={data / 'pg_ident.conf'}"),
    ]
    return [Server(NAME, command, place, ready, unprivileged=True, stop_signal="INT")]


def _make(folder: Folder, place: Path) -> None:
    fresh, password = place / "data.new", place / "password"
    shutil.rmtree(fresh, ignore_errors=True)
    write_private(password, folder.secret("postgres") + "\n")
    env = process.environment(place)
    command = [
        *process.as_user(place),
        fetch.need("initdb"),
        *("-D", str(fresh), "--no-sync", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"),
        *("--auth=scram-sha-256", f"--pwfile={password}"),
    ]
    fetch.run(command, within_s=60, env=env, cwd=place)
    password.unlink()
    fresh.rename(place / "data")


def settle(folder: Folder) -> None:
    password = folder.secret("postgres")
    # `\gexec` runs what the query answers: CREATE DATABASE has no IF NOT EXISTS.
    _sql(
        folder,
        "postgres",
        f"""
        select 'create role reelgraph' where not exists (select from pg_roles where rolname = 'reelgraph') \\gexec
        alter role reelgraph login createdb password '{password}';
        select 'create database reelgraph owner reelgraph'
         where not exists (select from pg_database where datname = 'reelgraph') \\gexec
        """,
    )


def _sql(folder: Folder, database: str, text: str) -> None:
    psql = fetch.need("psql")
    at = ["-h", "127.0.0.1", "-p", str(folder.port("postgres")), "-U", "postgres", "-d", database]
    env = process.environment(folder.of(NAME)) | {"PGPASSWORD": folder.secret("postgres")}
    fetch.run([psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", *at], within_s=30, env=env, given=text)


def url(folder: Folder) -> str:
    return f"postgresql://reelgraph:{folder.secret('postgres')}@127.0.0.1:{folder.port('postgres')}/reelgraph"
