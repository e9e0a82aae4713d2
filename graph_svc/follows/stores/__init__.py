"""Adapters of the follow graph's ports.

The graph by the scheme of `REELGRAPH_GRAPH_URL`; without one it lives in the service's own database.
"""

SCHEMES = {
    "sqlite": "graph_svc.follows.stores.sql_graph",
    "postgresql": "graph_svc.follows.stores.sql_graph",
    "postgres": "graph_svc.follows.stores.sql_graph",
    "mysql": "graph_svc.follows.stores.sql_graph",
    **dict.fromkeys(
        ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc"),
        "graph_svc.follows.stores.neo4j",
    ),
}
