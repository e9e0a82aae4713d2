"""Real servers in tests: each engine is a parameter with its marks, its address comes from the environment.

@pytest.fixture(params=["sqlite", *servers("postgres", "mysql")])
async def store(request, tmp_path):
    url = f"sqlite:///{tmp_path}/x.db" if request.param == "sqlite" else server_url(request.param)

`make test-servers` sets the addresses, runs what is marked `servers` and ends with a line an engine.
Tests of one engine run in one process: a suite may flush it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest
from _pytest.mark import ParameterSet

ADDRESSES: Mapping[str, str] = {
    "postgres": "REELGRAPH_TEST_POSTGRES_URL",
    "mysql": "REELGRAPH_TEST_MYSQL_URL",
    "neo4j": "REELGRAPH_TEST_NEO4J_URL",
    "redis": "REELGRAPH_TEST_REDIS_URL",
    "redis-cluster": "REELGRAPH_TEST_REDIS_CLUSTER_URL",
    "cassandra": "REELGRAPH_TEST_CASSANDRA_URL",
    "kafka": "REELGRAPH_TEST_KAFKA_URL",
    "s3": "REELGRAPH_TEST_S3_URL",
    "triton": "REELGRAPH_TEST_TRITON_URL",
    "meilisearch": "REELGRAPH_TEST_MEILISEARCH_URL",
}
"""Engine -> the variable that holds its URL, password or key included, as the product's own setting would."""


def servers(*engines: str) -> list[ParameterSet]:
    """Parameters for real servers: marked `servers`, skipped (saying so) where the engine has no address."""
    return [
        pytest.param(
            engine,
            marks=[pytest.mark.servers, pytest.mark.engine(engine), pytest.mark.xdist_group(engine)],
            id=engine,
        )
        for engine in engines
    ]


def server_url(engine: str) -> str:
    """The address of a real server; skips the test where there is none."""
    url = os.environ.get(ADDRESSES[engine], "")
    if not url:
        pytest.skip(f"{ADDRESSES[engine]} names no server")
    return url
