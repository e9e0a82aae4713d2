"""Schema migrations by Alembic: forward only in operation, one folder of versions a service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import AsyncConnection

from svc_kit.backends import MIGRATE_S, EngineUnusable
from svc_kit.db import Database, connect, prepare, verify

ENVIRONMENT = Path(__file__).parent / "migrations"
# Waited for longer than for a table: a migrator that is at work is done within MIGRATE_S.
_LOCK_POSTGRES = (
    f"SET LOCAL lock_timeout = '{MIGRATE_S:.0f}s'",
    "SELECT pg_advisory_xact_lock(hashtextextended('reelgraph migrate ' || current_schema(), 0))",
    "SET LOCAL lock_timeout = '10s'",
)
_LOCK_MYSQL = f"SELECT GET_LOCK(CONCAT('reelgraph ', LEFT(MD5(DATABASE()), 32)), {MIGRATE_S:.0f})"
_UNLOCK_MYSQL = "SELECT RELEASE_LOCK(CONCAT('reelgraph ', LEFT(MD5(DATABASE()), 32)))"


@dataclass(frozen=True, slots=True)
class Migrations:
    """The schema of one service."""

    service: str
    metadata: MetaData
    versions: Path
    """Folder of the service's revisions."""

    def config(self, connection: Connection | None = None) -> Any:
        """Alembic's configuration for this service."""
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(ENVIRONMENT).replace("%", "%%"))
        config.set_main_option("version_locations", str(self.versions).replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
        config.attributes.update(connection=connection, metadata=self.metadata)
        return config

    def head(self) -> str | None:
        """The newest revision in the code."""
        from alembic.script import ScriptDirectory

        return ScriptDirectory.from_config(self.config()).get_current_head()

    async def current(self, db: Database) -> str | None:
        """The revision that a database is at; None when it is empty. Raises ValueError when it is no database."""
        from alembic.runtime.migration import MigrationContext
        from sqlalchemy.exc import DatabaseError

        try:
            async with db.read() as connection:
                return await connection.run_sync(lambda c: MigrationContext.configure(c).get_current_revision())
        except DatabaseError as error:
            raise ValueError(f"the {self.service} database can't be read: {error.orig}") from error

    async def verify(self, url: str) -> str:
        """What is at `url`: the server's version and the schema's revision. Raises `EngineUnusable` when it can't be
        used as it is: unreachable, refused, too old, no schema, an older or a newer one."""
        found = await verify(url)
        db = connect(url, pool_size=1)
        try:
            current, head = await self.current(db), self.head()
        except ValueError as error:
            raise EngineUnusable(str(error)) from error
        finally:
            await db.close()
        if current is not None and not self._knows(current):
            raise EngineUnusable(self._too_new(current))
        if current != head:
            raise EngineUnusable(f"schema is at {current or 'nothing'}, the code needs {head}: run `reelgraph migrate`")
        return f"{found}, schema {current}".removeprefix(", ")

    async def migrate(self, url: str) -> str:
        """Make the database or schema of `url` where it is absent, and bring it to the newest revision; its revision.
        Raises `EngineUnusable`, or ValueError when it is newer than the code."""
        await prepare(url)
        db = connect(url, pool_size=1, command_s=MIGRATE_S)
        try:
            await self.upgrade(db)
        finally:
            await db.close()
        return f"schema {self.head()}"

    async def upgrade(self, db: Database) -> None:
        """Bring a database, empty or older, to the newest revision.

        Two at once: the second waits, then finds nothing to do. Raises ValueError when it is newer than the code.
        """
        current = await self.current(db)
        if current == self.head():
            return
        from alembic import command

        if current is not None and not self._knows(current):
            raise ValueError(self._too_new(current))
        async with _alone(db) as connection:
            await connection.run_sync(lambda c: command.upgrade(self.config(c), "head"))

    def _too_new(self, revision: str) -> str:
        return f"the {self.service} database is at revision {revision}, newer than this version's"

    def _knows(self, revision: str) -> bool:
        from alembic.script import ScriptDirectory

        scripts = ScriptDirectory.from_config(self.config())
        return any(script.revision == revision for script in scripts.walk_revisions())

    async def difference(self, db: Database) -> list[Any]:
        """What the database lacks of the metadata, or has beyond it; empty when they agree."""
        from alembic.autogenerate import compare_metadata
        from alembic.runtime.migration import MigrationContext

        def compare(connection: Connection) -> list[Any]:
            options = {"compare_type": True}
            return list(compare_metadata(MigrationContext.configure(connection, opts=options), self.metadata))

        async with db.read() as connection:
            return await connection.run_sync(compare)


@asynccontextmanager
async def _alone(db: Database) -> AsyncIterator[AsyncConnection]:
    """A connection of the only migrator: in one transaction where the engine can change tables in one."""
    if db.dialect == "mysql":
        # Every change of a table commits: what a migrator that dies leaves is gone on with, see `ResumableMySQL`.
        async with db.read() as connection:
            if (await connection.exec_driver_sql(_LOCK_MYSQL)).scalar_one() != 1:
                raise EngineUnusable("another migrator has been at work for too long")
            try:
                yield connection
            finally:
                await connection.exec_driver_sql(_UNLOCK_MYSQL)
        return
    async with db.write() as connection:
        for statement in _LOCK_POSTGRES if db.dialect == "postgresql" else ():
            await connection.exec_driver_sql(statement)
        yield connection
