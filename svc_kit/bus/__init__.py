"""The event bus: a port, its adapters, the outbox relay and the consumer runner."""

SCHEMES = {
    "memory": "svc_kit.bus.memory",
    "sqlite": "svc_kit.bus.sqlite",
    "kafka": "svc_kit.bus.kafka",
    "kafka+ssl": "svc_kit.bus.kafka",
}
"""URL scheme -> adapter module, for `svc_kit.backends.resolve`. Each has `async def open(url, clock) -> Bus`."""
