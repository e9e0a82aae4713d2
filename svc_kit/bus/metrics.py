"""What the relay and the workers count. Labels are bounded: groups, topics and outcomes are few and known."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

PUBLISHED = Counter("reelgraph_events_published", "Events moved from an outbox to the bus", ["topic"])
REFUSED = Counter(
    "reelgraph_events_refused", "Events that the bus refused for good; they stay in the outbox", ["topic"]
)
HANDLED = Counter("reelgraph_events_handled", "Events handled by a consumer group", ["group", "topic"])
BURIED = Counter("reelgraph_events_buried", "Events put into a group's dead-letter queue", ["group", "topic"])
RETRIES = Counter("reelgraph_event_retries", "Attempts to handle events that failed", ["group", "kind"])
LAG = Gauge("reelgraph_events_lag", "Events that a group has yet to handle", ["group"])
