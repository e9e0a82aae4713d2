"""Write a new revision of a service's schema from its metadata: `python -m scripts.make_migration graph "add x"`."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from alembic import command

from launcher.migrate import migrations_of
from svc_kit.db import connect


async def main(service: str, message: str) -> None:
    migrations = migrations_of(service)
    migrations.versions.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        db = connect(f"sqlite:///{Path(folder) / 'x.db'}")
        if migrations.head() is not None:
            await migrations.upgrade(db)
        number = f"{len(list(migrations.versions.glob('[0-9]*.py'))) + 1:04d}"
        async with db.write() as connection:
            await connection.run_sync(
                lambda c: command.revision(migrations.config(c), message, autogenerate=True, rev_id=number)
            )
        await db.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
