"""MySQL's protocol by MariaDB, from Debian."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from deploy.servers import fetch, process
from deploy.servers.engine import Server
from deploy.servers.folder import Folder, write_private

NAME = "mysql"
VARIABLE = "REELGRAPH_TEST_MYSQL_URL"
PORTS = {"mysql": 23306}


def install(folder: Folder, say: Callable[[str], None]) -> None:
    fetch.program("mariadbd", "mariadb-server", say)


def prepare(folder: Folder) -> None:
    place = folder.of(NAME)
    if not (place / "data").exists():
        _make(place)
    accounts = place / "accounts.sql"
    write_private(accounts, _accounts(folder.secret("mysql")))
    settings = {
        "datadir": place / "data",
        "bind-address": "127.0.0.1",
        "port": folder.port("mysql"),
        # Relative to the data: a longer path could be too long for a socket.
        "socket": "mysqld.sock",
        "pid-file": "mysqld.pid",
        "init-file": accounts,
        "skip-name-resolve": 1,
        "character-set-server": "utf8mb4",
        "collation-server": "utf8mb4_unicode_ci",
        "innodb-buffer-pool-size": "96M",
        "innodb-log-file-size": "48M",
        "performance-schema": "OFF",
        "max-connections": 200,
        "table-open-cache": 800,
    }
    write_private(place / "my.cnf", "[mariadbd]\n" + "".join(f"{key}={value}\n" for key, value in settings.items()))


def servers(folder: Folder) -> list[Server]:
    place, port = folder.of(NAME), folder.port("mysql")
    command = [fetch.need("mariadbd"), f"--defaults-file={place / 'my.cnf'}"]
    return [Server(NAME, command, place, lambda: _answers(port), unprivileged=True, within_s=60)]


def _make(place: Path) -> None:
    fresh = place / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    program = fetch.need("mariadb-install-db")
    env = process.environment(place)
    command = [*process.as_user(place), program, "--no-defaults", f"--datadir={fresh}", "--skip-test-db"]
    fetch.run([*command, "--innodb-log-file-size=48M"], within_s=120, env=env, cwd=place)
    fresh.rename(place / "data")


def _accounts(password: str) -> str:
    """Run by the server itself before it lets anybody in. root has no password: only the socket's owner may be it."""
    user = "reelgraph@'127.0.0.1'"
    lines = (
        f"CREATE USER IF NOT EXISTS {user}",
        f"ALTER USER {user} IDENTIFIED BY '{password}'",
        f"GRANT ALL PRIVILEGES ON `reelgraph%`.* TO {user}",
        "CREATE DATABASE IF NOT EXISTS reelgraph CHARACTER SET utf8mb4",
    )
    return "".join(f"{line};\n" for line in lines)


def _answers(port: int) -> bool:
    """Whether it greets with version 10 of its protocol."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(5)[4:5] == b"\x0a"
    except OSError:
        return False


def settle(folder: Folder) -> None:
    """Accounts are made by the server as it starts."""


def url(folder: Folder) -> str:
    return f"mysql://reelgraph:{folder.secret('mysql')}@127.0.0.1:{folder.port('mysql')}/reelgraph"
