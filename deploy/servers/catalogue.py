"""All engines, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.servers import (
    cassandra,
    kafka,
    meilisearch,
    mysql,
    neo4j,
    postgres,
    redis,
    redis_cluster,
    s3,
    toxiproxy,
    triton,
)
from deploy.servers.engine import Engine

ENGINES: Mapping[str, Engine] = {
    engine.NAME: engine
    for engine in (postgres, mysql, neo4j, redis, redis_cluster, cassandra, kafka, s3, triton, meilisearch, toxiproxy)
}
