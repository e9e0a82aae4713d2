"""Relational engines, one module each, chosen by the scheme of the URL. `svc_kit.db` is what the rest uses.

An engine's module has `open_engine(url, ...) -> Engine`. That of a server has also `verify(url)`, see
`svc_kit.backends`, and `prepare(url)`, which makes the database or schema that the URL names.
"""

SCHEMES = {
    "sqlite": "svc_kit.databases.sqlite",
    "postgresql": "svc_kit.databases.postgres",
    "postgres": "svc_kit.databases.postgres",
    "mysql": "svc_kit.databases.mysql",
}
