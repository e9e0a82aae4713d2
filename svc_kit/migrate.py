"""Schema migrations by Alembic: forward only in operation, one folder of versions a service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData

from svc_kit.db import Database

ENVIRONMENT = Path(__file__).parent / "migrations"


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

    async def upgrade(self, db: Database) -> None:
        """Bring a database, empty or older, to the newest revision.

        Two at once: the second waits, then finds nothing to do. Raises ValueError when it is newer than the code.
        """
        current = await self.current(db)
        if current == self.head():
            return
        from alembic import command

        if current is not None and not self._knows(current):
            raise ValueError(f"the {self.service} database is at revision {current}, newer than this version's")
        async with db.write() as connection:
            await connection.run_sync(lambda c: command.upgrade(self.config(c), "head"))

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
