"""Whether a Neo4j can hold the graph, and what makes it so."""

from __future__ import annotations

import re
from typing import Any, Final

from neo4j import AsyncDriver
from neo4j.exceptions import AuthError, ClientError, DriverError, Neo4jError, ServiceUnavailable

from graph_svc.follows.stores import neo4j_cypher as cypher
from graph_svc.follows.stores.neo4j_server import Address
from svc_kit.backends import EngineUnusable

OLDEST: Final = (5, 26)
MIGRATE: Final = "run `reelgraph migrate`"


async def verify(url: str) -> str:
    """See `svc_kit.backends`."""
    address = Address.of(url)
    async with address.driver(connection_acquisition_timeout=4.0, max_transaction_retry_time=0.0) as driver:
        try:
            found = await _version(driver, address)
            states = {row[0]: row[1] for row in await _rows(driver, address, cypher.INDEXES)}
        except (DriverError, Neo4jError) as error:
            raise EngineUnusable(_reason(error, address)) from error
    if missing := [name for name in cypher.SCHEMA if name not in states]:
        raise EngineUnusable(f"missing {', '.join(missing)}: {MIGRATE}")
    if unready := [f"{name} is {states[name]}" for name in cypher.SCHEMA if states[name] != "ONLINE"]:
        raise EngineUnusable("; ".join(unready))
    return f"Neo4j {found}"


async def migrate(url: str) -> str:
    """See `svc_kit.backends`."""
    address = Address.of(url)
    async with address.driver(connection_acquisition_timeout=10.0, max_transaction_retry_time=30.0) as driver:
        try:
            found = await _version(driver, address)
            for statement in (*cypher.SCHEMA.values(), *cypher.NAMES):
                await _change(driver, address, statement)
            await _rows(driver, address, cypher.AWAIT_INDEXES)
        except (DriverError, Neo4jError) as error:
            raise EngineUnusable(_reason(error, address)) from error
    return f"Neo4j {found}: {len(cypher.SCHEMA)} constraints and indexes"


async def _version(driver: AsyncDriver, address: Address) -> str:
    found = str((await _rows(driver, address, cypher.VERSION))[0][0])
    numbers = tuple(int(n) for n in re.findall(r"\d+", found)[:2])
    if numbers < OLDEST:
        raise EngineUnusable(f"Neo4j {found} is too old: {'.'.join(map(str, OLDEST))} or later is needed")
    return found


async def _rows(driver: AsyncDriver, address: Address, statement: str) -> list[list[Any]]:
    async with driver.session(database=address.database) as session:
        return await (await session.run(statement)).values()  # type: ignore[arg-type, unused-ignore]


async def _change(driver: AsyncDriver, address: Address, statement: str) -> None:
    async def work(tx: Any) -> None:
        await (await tx.run(statement)).consume()

    try:
        async with driver.session(database=address.database) as session:
            await session.execute_write(work)
    except ClientError as error:
        # Two migrators at once: the other was first.
        if not (error.code or "").endswith("AlreadyExists"):
            raise


def _reason(error: Exception, address: Address) -> str:
    code = getattr(error, "code", None) or ""
    if code.endswith("CredentialsExpired"):
        return "the initial password must be changed first"
    if code.endswith("AuthenticationRateLimit"):
        return "too many wrong passwords: it refuses log-ins for a while"
    if isinstance(error, AuthError):
        return f"wrong password for user {address.auth[0]}" if address.auth else "a user and a password are needed"
    if code.endswith("DatabaseNotFound"):
        return f"there is no database {address.database}"
    if code.endswith("Forbidden"):
        return "the user may not do this there"
    if isinstance(error, ServiceUnavailable):
        return "unreachable, or no Neo4j answers there"
    return f"it refuses: {code or type(error).__name__}"
