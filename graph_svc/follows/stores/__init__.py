"""Adapters of the follow graph's ports.

The graph by the scheme of `REELGRAPH_GRAPH_URL`; without one it lives in the service's own database.
"""

SCHEMES = {
    "sqlite": "graph_svc.follows.stores.sql_graph",
    "postgresql": "graph_svc.follows.stores.sql_graph",
    "postgres": "graph_svc.follows.stores.sql_graph",
    "mysql": "graph_svc.follows.stores.sql_graph",
}
