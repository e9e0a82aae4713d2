"""Imports all that an image's roles may ever need: `python deploy/importable.py TARGET`, in the finished environment.

What `deploy/slim.py` took out too much of fails here, while the image is built: every role, every adapter that a URL
can choose for it, and the program that transcodes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pkgutil import walk_packages

SERVICES = ("graph_svc", "media_svc", "rank_svc", "feed_svc")
PACKAGES: Mapping[str, Sequence[str]] = {
    "gateway": ("gateway",),
    "services": SERVICES,
    "reelgraph": (*SERVICES, "gateway"),
}
# What is imported late, by name or by a driver: so that it is there, and compiled.
SERVING = (
    *(
        "uvicorn.protocols.websockets.websockets_sansio_impl",
        "uvicorn.lifespan.off",
        "uvloop",
        "anyio._backends._asyncio",
    ),
    *("kafka", "redis.asyncio.cluster", "encodings.idna", "http.client"),
)
STORES = (
    *("aiosqlite", "asyncpg", "sqlalchemy.dialects.postgresql.asyncpg", "alembic.command", "alembic.config"),
    *("asyncmy.connection", "sqlalchemy.dialects.mysql.asyncmy", "acsylla", "neo4j", "meilisearch"),
    *("aiobotocore.session", "aiohttp", "tritonclient.grpc.aio", "onnxruntime", "pyarrow.parquet", "usearch.index"),
    *("tantivy", "PIL.WebPImagePlugin", "PIL.JpegImagePlugin", "PIL.PngImagePlugin"),
)
# Needs torch or LightGBM, which no image has.
TRAINING = "rank_svc.train"
# Writes the packaged model, with packages that only development has.
NEVER = frozenset({"rank_svc.scorers.base_model"})
# What a gateway never imports of the common packages.
NOT_THE_GATEWAYS = ("svc_kit.databases", "svc_kit.cassandra", "svc_kit.s3", "svc_kit.migrations", "svc_kit.migrate")


def modules(target: str) -> Iterator[str]:
    """Names of what the target must be able to import."""
    yield from ("launcher.cli", "launcher.serve")
    for package in ("svc_kit", *PACKAGES[target]):
        for found in walk_packages(import_module(package).__path__, f"{package}."):
            if found.name.startswith(TRAINING) or ".migrations." in found.name:
                continue
            if target == "gateway" and found.name.startswith(NOT_THE_GATEWAYS):
                continue
            if found.name in NEVER or (target == "services" and found.name.endswith("probe_child")):
                continue
            yield found.name
    yield from SERVING
    if target != "gateway":
        yield from STORES


def main() -> int:
    target = sys.argv[1]
    failed = 0
    for name in modules(target):
        try:
            import_module(name)
        except Exception as error:
            failed += 1
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
    if target == "reelgraph":
        import imageio_ffmpeg

        print(imageio_ffmpeg.get_ffmpeg_exe())
    print(f"{target}: {failed} modules that can't be imported")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
