"""Build hook of reelgraph-stubs: protobuf messages, gRPC stubs and their types, generated from `proto/`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SERVICE = re.compile(r"^service\s+\w+", re.MULTILINE)


class StubsBuildHook(BuildHookInterface[Any]):
    """Puts `proto/` into the sdist and the generated package `reelgraph` into the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        proto_root = self._proto_root()
        if self.target_name == "sdist":
            build_data["force_include"][str(proto_root)] = "proto"
            return
        out = Path(self.directory) / ".generated"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        generate(proto_root, out)
        build_data["force_include"][str(out / "reelgraph")] = "reelgraph"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        shutil.rmtree(Path(self.directory) / ".generated", ignore_errors=True)

    def _proto_root(self) -> Path:
        """In an sdist the protos lie inside it, in a checkout beside it."""
        for candidate in (Path(self.root) / "proto", Path(self.root).parent / "proto"):
            if (candidate / "reelgraph").is_dir():
                return candidate
        raise FileNotFoundError(f"no proto/reelgraph in {self.root} nor beside it")


def generate(proto_root: Path, out: Path) -> None:
    """Run protoc over every proto below `proto_root`; raise with its own message when it refuses one."""
    protos = sorted(path.relative_to(proto_root).as_posix() for path in proto_root.rglob("*.proto"))
    services = [name for name in protos if _SERVICE.search((proto_root / name).read_text(encoding="utf-8"))]
    _protoc(proto_root, [f"--python_out={out}", f"--pyi_out={out}"], protos)
    if services:
        _protoc(proto_root, [f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}"], services)
    # `reelgraph` is a namespace package, so type checkers look for the marker in each folder below it.
    for folder in {path.parent for path in out.rglob("*_pb2.py")}:
        for marked in (folder, folder.parent):
            (marked / "py.typed").touch()


def _protoc(proto_root: Path, outputs: list[str], protos: list[str]) -> None:
    import grpc_tools

    well_known = Path(grpc_tools.__file__).parent / "_proto"
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{proto_root}",
        f"-I{well_known}",
        *outputs,
        *protos,
    ]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"protoc failed:\n{done.stderr}")
