"""Adapters of the cache: clients of the Redis protocol."""

SCHEMES = {
    "memory": "svc_kit.caches.memory",
    "redis": "svc_kit.caches.redis",
    "rediss": "svc_kit.caches.redis",
    "redis-cluster": "svc_kit.caches.redis_cluster",
    "rediss-cluster": "svc_kit.caches.redis_cluster",
}
