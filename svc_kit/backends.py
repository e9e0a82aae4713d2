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
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from types import ModuleType

VERIFY_S = 5.0
"""Within this an engine is found usable or not: nobody waits longer for a start that can't succeed."""
AGAIN_S = 1.0
MIGRATE_S = 120.0
_QUERY_SECRET = re.compile(r"([?&](?:ssl)?(?:password|passwd|secret)=)[^&#]*", re.IGNORECASE)


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
    # To the last `@`, although one may stand in an option: rather too much is hidden than a part of a password shown.
    scheme, mark, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    if at and not rest.startswith("/"):
        user, colon, _ = login.partition(":")
        rest = f"{user}:***@{place}" if colon else f"***@{place}"
    return scheme + mark + _QUERY_SECRET.sub(r"\1***", rest)


def check_login(url: str) -> None:
    """Raise `EngineUnusable` for a login that ends before its `@`: what is behind the `/` of a password would be taken
    for something else, and shown in messages."""
    rest = url.partition("://")[2]
    login, at, _ = rest.rpartition("@")
    if at and not rest.startswith("/") and re.search(r"[/?#]", login) and not _is_place(login):
        raise EngineUnusable("the user name or password holds one of / ? #: write it percent-encoded")


def _is_place(text: str) -> bool:
    """Whether what stands before an `@` is host and path already: the `@` is in an option's value."""
    authority = re.split(r"[/?#]", text, maxsplit=1)[0]
    return authority != text and re.fullmatch(r"[\w.\-]*(:\d+)?(,[\w.\-]+(:\d+)?)*|[^@]*@.*", authority) is not None


async def verify(setting: str, url: str, schemes: Mapping[str, str]) -> str:
    """What the engine at `url` is, found within 5 s; empty for an embedded one. Raises `UnknownScheme` or
    `EngineUnusable`, whose message begins with the setting."""
    check = getattr(resolve(setting, url, schemes), "verify", None)
    if check is None:
        return ""
    shown, why = f"{setting}={without_secret(url)}", f"no answer within {VERIFY_S:g} s"
    try:
        check_login(url)
        async with asyncio.timeout(VERIFY_S):
            try:
                return await _told(check, url)
            except EngineUnusable as error:
                why = str(error)
            # Once more, as long as there is time: on a busy machine an answer may have been late.
            await asyncio.sleep(AGAIN_S)
            return await _told(check, url)
    except TimeoutError:
        raise EngineUnusable(f"{shown}: {why}") from None
    except EngineUnusable as error:
        raise EngineUnusable(f"{shown}: {error}") from error


async def _told(check: Callable[[str], Awaitable[str]], url: str) -> str:
    """What `check` says. Whatever else goes wrong in it, such as a file that is not there, is a reason too: what is
    wrong with one engine must not hide the others."""
    try:
        return str(await check(url))
    except (EngineUnusable, TimeoutError):
        raise
    except Exception as error:
        said = str(error).replace(url, without_secret(url))
        raise EngineUnusable(f"{type(error).__name__}: {said}") from error


async def migrate(setting: str, url: str, schemes: Mapping[str, str]) -> str:
    """Make or update what the adapter needs at `url`; empty for an embedded engine. Raises as `verify`."""
    make = getattr(resolve(setting, url, schemes), "migrate", None)
    if make is None:
        return ""
    try:
        check_login(url)
        async with asyncio.timeout(MIGRATE_S):
            return await _told(make, url)
    except TimeoutError:
        raise EngineUnusable(f"{setting}={without_secret(url)}: not done within {MIGRATE_S:g} s") from None
    except EngineUnusable as error:
        raise EngineUnusable(f"{setting}={without_secret(url)}: {error}") from error
