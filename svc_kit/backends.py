"""Adapters chosen by URL scheme alone; only the chosen module is imported.

Beside `open`, the module of a production engine has

- `async def verify(url: str) -> str`: connect, authenticate, check version and schema; changes nothing. Answers what it
  found, for `reelgraph doctor`; raises `EngineUnusable` with the reason.
- `async def migrate(url: str) -> str`: make or update what the adapter needs there (constraints, tables, topics,
  buckets, index settings). Idempotent, and harmless when two do it at once. Answers what there is now.

Embedded engines make what they need when they are opened, and have neither.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

VERIFY_S = 5.0
"""Within this an engine is found usable or not: nobody waits longer for a start that can't succeed."""
AGAIN_S = 1.0
MIGRATE_S = 120.0


class UnknownScheme(ValueError):
    """A setting names a scheme that no adapter answers."""


class EngineUnusable(ValueError):
    """An engine can't be used as it is: unreachable, wrong password, wrong version, missing schema. The message is for
    an operator and holds no secret."""


def resolve(setting: str, url: str, schemes: Mapping[str, str]) -> ModuleType:
    """The adapter module for `url`. `schemes` maps scheme to module path; `setting` names the setting in errors.

    Raises `UnknownScheme` naming the valid ones, `EngineUnusable` when the engine's driver is not installed."""
    scheme = url.partition(":")[0]
    module = schemes.get(scheme)
    if module is None:
        raise UnknownScheme(f"{setting}={scheme}:...: unknown scheme; valid: {', '.join(sorted(schemes))}")
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == module.partition(".")[0]:
            raise
        raise EngineUnusable(f"{setting}={scheme}:...: the package {error.name} is not installed") from error


def without_secret(url: str) -> str:
    """The URL with its password left out, for messages and logs."""
    return re.sub(r"(?<=://)([^/@]*)@", lambda m: f"{m[1].partition(':')[0]}:***@", url)


async def verify(setting: str, url: str, schemes: Mapping[str, str]) -> str:
    """What the engine at `url` is, found within 5 s; empty for an embedded one. Raises `UnknownScheme` or
    `EngineUnusable`, whose message begins with the setting."""
    check = getattr(resolve(setting, url, schemes), "verify", None)
    if check is None:
        return ""
    shown, why = f"{setting}={without_secret(url)}", f"no answer within {VERIFY_S:g} s"
    try:
        async with asyncio.timeout(VERIFY_S):
            try:
                return str(await check(url))
            except EngineUnusable as error:
                why = str(error)
            # Once more, as long as there is time: on a busy machine an answer may have been late.
            await asyncio.sleep(AGAIN_S)
            return str(await check(url))
    except TimeoutError:
        raise EngineUnusable(f"{shown}: {why}") from None
    except EngineUnusable as error:
        raise EngineUnusable(f"{shown}: {error}") from error


async def migrate(setting: str, url: str, schemes: Mapping[str, str]) -> str:
    """Make or update what the adapter needs at `url`; empty for an embedded engine. Raises as `verify`."""
    make = getattr(resolve(setting, url, schemes), "migrate", None)
    if make is None:
        return ""
    try:
        async with asyncio.timeout(MIGRATE_S):
            return str(await make(url))
    except TimeoutError:
        raise EngineUnusable(f"{setting}={without_secret(url)}: not done within {MIGRATE_S:g} s") from None
    except EngineUnusable as error:
        raise EngineUnusable(f"{setting}={without_secret(url)}: {error}") from error
