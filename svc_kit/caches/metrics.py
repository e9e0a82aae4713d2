"""What is counted of caches. Labels are bounded: servers are few and named by the operator."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

DOWN = Gauge("reelgraph_cache_down", "1 while a cache server does not answer", ["server"])
FAILURES = Counter("reelgraph_cache_failures", "Calls that a cache server did not answer", ["server", "kind"])
