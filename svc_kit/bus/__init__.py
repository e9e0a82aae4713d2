"""The event bus: a port, its adapters, the outbox relay and the consumer runner."""
