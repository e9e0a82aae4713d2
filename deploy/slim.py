"""Takes out of an environment what an image never uses: `python deploy/slim.py ENVIRONMENT TARGET`.

Standard library, and `strip` where there is one. Whoever runs it imports everything afterwards, by
`deploy/importable.py`: what was needed after all shows there, not in production.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

# Folders of a package that only its own developers, or compilers, look into.
FOLDERS = frozenset({"tests", "test", "testing", "include", "examples", "benchmarks", "__pycache__"})
# `testing` of these is imported by the package itself, or by what stands on it.
KEPT = frozenset({"numpy/testing", "sqlalchemy/testing", "anyio/abc/testing", "alembic/testing"})
# Sources of extension modules, and stubs for type checkers.
SUFFIXES = frozenset({".pyx", ".pxd", ".pxi", ".pyi", ".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".a", ".cmake"})
# By package, what nothing here imports; each is a pattern below site-packages.
UNUSED = (
    # Arrow without its network file systems, Flight and ORC: the archive reads and writes Parquet, S3 is aiobotocore's.
    *(f"pyarrow/libarrow_{name}.so*" for name in ("flight", "s3", "python_flight")),
    *(f"pyarrow/_{name}.*" for name in ("flight", "s3fs", "gcsfs", "azurefs", "hdfs", "orc", "substrait", "cuda")),
    *(f"pyarrow/{name}" for name in ("src", "includes")),
    # ONNX tools for whoever makes models; serving needs the runtime alone.
    *(f"onnxruntime/{name}" for name in ("transformers", "quantization", "tools", "datasets", "backend")),
    "numpy/f2py",
    # HTTP, shared memory and CUDA of a client that speaks gRPC alone.
    "tritonclient/http",
    "tritonclient/utils/cuda_shared_memory",
    # The library for programs in C; the module has its own.
    "onnxruntime/capi/libonnxruntime.so*",
    "pip",
    "pip-*.dist-info",
)
# What botocore reads for S3 and for the ways to get credentials.
BOTOCORE = frozenset({"s3", "sts", "sso", "sso-oidc", "signin"})
# By target, what none of its roles imports: transcoding is the workers' work, and a gateway only asks services.
_MEDIA = ("av", "av.libs", "av-*.dist-info", "imageio_ffmpeg", "imageio_ffmpeg-*.dist-info")
_DATA = (
    *("acsylla", "acsylla.libs", "asyncmy", "asyncpg", "neo4j", "aiobotocore", "botocore", "aiohttp", "aioitertools"),
    *("onnxruntime", "numpy", "numpy.libs", "ml_dtypes", "pyarrow", "usearch", "numkong", "numkong.libs", "tantivy"),
    *("tritonclient", "rapidjson*.so", "PIL", "pillow.libs", "meilisearch", "ffmpeg", "future", "rbloom", "m3u8"),
    "rank_svc/models",
)
# The explorer and the player: a gateway serves them.
_PAGES = ("gateway/explorer/dist",)
NOT_IN: Mapping[str, Sequence[str]] = {
    "reelgraph": (),
    "services": (*_MEDIA, *_PAGES),
    "gateway": (*_MEDIA, *_DATA),
}


def slim(environment: Path, target: str) -> None:
    """Remove and strip, in place."""
    for packages in environment.glob("lib/python3*/site-packages"):
        for path in list(_unused(packages)):
            _remove(path)
        for pattern in NOT_IN[target]:
            for path in packages.glob(pattern):
                _remove(path)
        _link_copies(packages)
        _strip(packages)


def _unused(packages: Path) -> Iterator[Path]:
    for pattern in UNUSED:
        yield from packages.glob(pattern)
    for service in packages.glob("botocore/data/*/"):
        if service.name not in BOTOCORE:
            yield service
    for folder, folders, files in os.walk(packages):
        here = Path(folder)
        for name in [name for name in folders if name in FOLDERS]:
            if (here / name).relative_to(packages).as_posix() not in KEPT:
                folders.remove(name)
                yield here / name
        yield from (here / name for name in files if Path(name).suffix in SUFFIXES)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _link_copies(packages: Path) -> None:
    """A wheel has no links: `lib.so`, `lib.so.1` and `lib.so.1.2` come as three files."""
    for whole in packages.glob("*/lib*.so.*.*"):
        for shorter in (whole.with_suffix(""), whole.with_name(whole.name.partition(".so")[0] + ".so")):
            if _copies(whole, shorter) or _copies(whole, shorter := shorter.with_suffix("")):
                shorter.unlink()
                shorter.symlink_to(whole.name)


def _copies(one: Path, other: Path) -> bool:
    if other.is_symlink() or not other.is_file() or one == other:
        return False
    return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()


def _strip(packages: Path) -> None:
    """Debugging symbols, in some wheels nine tenths of the file. A file that does not shrink stays as it came."""
    program = shutil.which("strip")
    if program is None:
        print("slim: no `strip` here: debugging symbols stay", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        stripped = Path(folder) / "stripped.so"
        for path in packages.rglob("*.so*"):
            if path.is_symlink() or not path.is_file() or _is_repaired(path):
                continue
            command = [program, "--strip-unneeded", "-o", str(stripped), str(path)]
            done = subprocess.run(command, capture_output=True, check=False)
            if done.returncode == 0 and stripped.stat().st_size < path.stat().st_size * 0.95:
                shutil.copymode(path, stripped)
                shutil.copyfile(stripped, path)


def _is_repaired(path: Path) -> bool:
    """Libraries that were rewritten for the wheel: `strip` breaks the layout of some of them."""
    return path.parent.name.endswith(".libs")


def main() -> int:
    parser = argparse.ArgumentParser(description="Take out of an environment what an image never uses.")
    parser.add_argument("environment", type=Path)
    parser.add_argument("target", choices=NOT_IN)
    options = parser.parse_args()
    slim(options.environment, options.target)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
