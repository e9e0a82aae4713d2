"""Whether Redis servers can be used: reached, let in, new enough, writable, whole. What could be better is told too."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from svc_kit.backends import EngineUnusable
from svc_kit.caches.address import Address

SERVER_VERSION = (6, 2)
CLUSTER_VERSION = (7, 0)
"""Sharded pub/sub."""
_SECTIONS = ("server", "memory", "replication", "cluster")

Facts = Mapping[str, str]


async def inspect_server(address: Address) -> str:
    """What the one server is. Raises `EngineUnusable`."""
    facts = await _facts(address, *address.hosts[0])
    if facts.get("cluster_enabled") == "1":
        raise EngineUnusable("this server belongs to a cluster: use redis-cluster:// or rediss-cluster://")
    _check_version(facts, SERVER_VERSION)
    if facts.get("role") != "master":
        raise EngineUnusable("this server is a replica, which refuses writes: name its primary")
    return "; ".join([f"Redis {facts['redis_version']}", *_advice([facts])])


async def inspect_cluster(address: Address) -> str:
    """What the cluster is, by the servers that are named. Raises `EngineUnusable`."""
    answers = await asyncio.gather(*(_facts(address, *place) for place in address.hosts), return_exceptions=True)
    found: list[Facts] = []
    problems: list[EngineUnusable] = []
    for answer in answers:
        if isinstance(answer, EngineUnusable):
            problems.append(answer)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found.append(answer)
    if not found:
        raise problems[0]
    for facts in found:
        if facts.get("cluster_enabled") != "1":
            raise EngineUnusable("a server that belongs to no cluster: use redis:// or rediss://")
        _check_version(facts, CLUSTER_VERSION)
        if facts["cluster_state"] != "ok":
            state, served = facts["cluster_state"], facts.get("cluster_slots_ok", "?")
            raise EngineUnusable(f"the cluster's state is {state}, {served} of 16384 slots are served")
    size, version = found[0].get("cluster_size", "?"), found[0]["redis_version"]
    unusable = [f"but: {problem}" for problem in problems]
    return "; ".join([f"Redis {version}, cluster of {size} primaries", *unusable, *_advice(found)])


async def _facts(address: Address, host: str, port: int) -> Facts:
    client = address.client(host, port, connections=1)
    where = f"{host}:{port}"
    try:
        return await _ask(client)
    except AuthenticationError as error:
        raise EngineUnusable(f"{where}: wrong or missing user name or password") from error
    except NoPermissionError as error:
        raise EngineUnusable(f"{where}: this user may not run INFO and CLUSTER INFO") from error
    except ResponseError as error:
        refused = "wrong or missing user name or password" if "NOAUTH" in str(error) else f"it answers: {error}"
        raise EngineUnusable(f"{where}: {refused}") from error
    except (RedisError, OSError, TimeoutError) as error:
        raise EngineUnusable(f"{where}: unreachable: {str(error) or type(error).__name__}") from error
    finally:
        await client.aclose()


async def _ask(client: Redis) -> Facts:
    facts: dict[str, str] = {}
    for section in _SECTIONS:
        facts |= _lines(await _one(client, "INFO", section))
    if facts.get("cluster_enabled") == "1":
        facts |= _lines(await _one(client, "CLUSTER", "INFO"))
    return facts


async def _one(client: Redis, *words: str) -> Any:
    pipeline = client.pipeline(transaction=False)
    _ = pipeline.execute_command(*words)  # Queued; `execute` sends.
    (reply,) = await pipeline.execute()
    return reply


def _lines(reply: Any) -> Facts:
    pairs = (line.partition(":") for line in bytes(reply).decode().splitlines() if ":" in line)
    return {name: value for name, _, value in pairs}


def _check_version(facts: Facts, least: tuple[int, int]) -> None:
    version = facts.get("redis_version", "?")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < least:
        raise EngineUnusable(f"Redis {version} is too old: at least {least[0]}.{least[1]} is needed")


def _advice(all_facts: Sequence[Facts]) -> list[str]:
    policies = {facts.get("maxmemory_policy", "noeviction") for facts in all_facts} - {"noeviction"}
    advice = [
        f"advice: with maxmemory-policy {policy} full memory costs rate limits and revocation marks; prefer noeviction"
        for policy in sorted(policies)
    ]
    if any(facts.get("loading") == "1" for facts in all_facts):
        advice.append("advice: a server is still loading its data")
    return advice
