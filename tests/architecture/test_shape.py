"""The shape of the code that an import graph can't hold: which file may know what, file names and sizes.

The rules are the table in ARCHITECTURE.md; import contracts between packages are in `.importlinter`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("graph_svc", "media_svc", "rank_svc", "feed_svc")
PACKAGES = ("svc_kit", *SERVICES, "gateway", "launcher")
ROLES = ("server", "commands", "queries", "store", "worker")
LONGEST_FILE_LINES = 400
# A library of its own inside a domain: a file in, a folder out, no knowledge of the rest.
LIBRARIES = {ROOT / "media_svc" / "transcode" / "engine"}

# A name that says nothing, or another word for a role, hides where a thing belongs.
VAGUE_NAMES = {
    *(
        "base",
        "common",
        "consumer",
        "consumers",
        "handler",
        "handlers",
        "helpers",
        "manager",
        "misc",
        "models",
    ),
    *("repository", "servicer", "service", "util", "utils"),
}
TRANSPORT = {"grpc", "starlette", "strawberry", "uvicorn"}
DRIVERS = {
    *(
        "acsylla",
        "aiobotocore",
        "aiosqlite",
        "alembic",
        "asyncmy",
        "asyncpg",
        "fakeredis",
        "kafka",
        "meilisearch",
    ),
    *("neo4j", "onnxruntime", "redis", "sqlalchemy", "sqlite3", "tantivy", "tritonclient", "usearch"),
}
ADAPTER_WORDS = {"backend", "engine", "scheme"}


@dataclass(frozen=True)
class Imported:
    """One imported module (or name of a module) and the line that imports it."""

    module: str
    line: int

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def domains() -> list[Path]:
    """Every folder of a service that holds a file with a role."""
    found = {path.parent for role in ROLES for path in ROOT.glob(f"*_svc/*/{role}.py")}
    return sorted(found | {path.parent for path in ROOT.glob("*_svc/*/stores") if path.is_dir()})


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(path: Path) -> Iterator[Imported]:
    """Absolute imports, also those inside functions; `from a import b` counts as `a.b`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (Imported(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = _absolute(path, node)
            yield from (Imported(f"{parent}.{alias.name}", node.lineno) for alias in node.names)


def _absolute(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = path.relative_to(ROOT).parts[: -node.level]
    return ".".join((*package, node.module) if node.module else package)


def role_of(module: str) -> str | None:
    """`graph_svc.follows.commands.X` is commands; a helper module of a domain is helper; else None."""
    parts = module.split(".")
    if parts[0] not in SERVICES or len(parts) < 3 or not (ROOT / parts[0] / parts[1]).is_dir():
        return None
    return parts[2] if parts[2] in (*ROLES, "stores") else "helper"


def protocols(store: Path) -> set[str]:
    """The names of the ports in a `store.py`."""
    classes = [node for node in tree(store).body if isinstance(node, ast.ClassDef)]
    return {node.name for node in classes if any("Protocol" in ast.unparse(base) for base in node.bases)}


def _is_port(imported: Imported) -> bool:
    *package, name = imported.module.split(".")
    store = ROOT.joinpath(*package).with_suffix(".py")
    return store.exists() and name in protocols(store)


def _is_event(imported: Imported) -> bool:
    return imported.module.startswith("reelgraph.events.")


def forbidden_in_server(imported: Imported) -> bool:
    """A servicer may name a domain's values, never its ports: it can't reach a store past the decisions."""
    role = role_of(imported.module)
    return imported.top in DRIVERS or role in {"stores", "worker"} or (role == "store" and _is_port(imported))


def forbidden_in_decision(imported: Imported) -> bool:
    if imported.top in TRANSPORT | DRIVERS or role_of(imported.module) in {"server", "stores", "worker"}:
        return True
    return imported.top == "reelgraph" and not _is_event(imported)


def forbidden_in_store(imported: Imported) -> bool:
    if imported.module.startswith("svc_kit.unit."):
        return False
    return imported.top in {*PACKAGES, "reelgraph"} | TRANSPORT | DRIVERS


def forbidden_in_remote_adapter(imported: Imported) -> bool:
    """`stores/rpc.py` is the adapter of a port that another service answers, so it alone knows that service's stubs."""
    return forbidden_in_adapter(imported) and imported.top not in {"reelgraph", "grpc"}


def forbidden_in_adapter(imported: Imported) -> bool:
    decides = role_of(imported.module) in {"server", "commands", "queries", "worker"}
    return imported.top in {*TRANSPORT, "reelgraph", "gateway", "launcher"} or decides


def forbidden_in_worker(imported: Imported) -> bool:
    if imported.top in TRANSPORT | DRIVERS or role_of(imported.module) in {"server", "queries", "stores"}:
        return True
    return imported.top == "reelgraph" and not _is_event(imported)


def forbidden_in_helper(imported: Imported) -> bool:
    """What stands beside the roles serves decisions, so it knows no transport and no adapter either."""
    if imported.top == "grpc" or role_of(imported.module) in {"server", "stores", "worker"}:
        return True
    return imported.top == "reelgraph" and not _is_event(imported)


def forbidden_in_wiring(imported: Imported) -> bool:
    """`wiring.py` composes its own domain: the one place where decisions, adapters, servicers and workers meet."""
    return imported.top in {"gateway", "launcher"}


RULES = {
    "wiring": forbidden_in_wiring,
    "server": forbidden_in_server,
    "commands": forbidden_in_decision,
    "queries": forbidden_in_decision,
    "store": forbidden_in_store,
    "worker": forbidden_in_worker,
}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("domain", domains(), ids=_name)
def test_each_file_of_a_domain_imports_only_what_its_role_allows(domain: Path) -> None:
    broken = []
    for path in sorted(domain.rglob("*.py")):
        if path.parent.name == "stores":
            forbidden = forbidden_in_remote_adapter if path.stem == "rpc" else forbidden_in_adapter
        else:
            forbidden = RULES.get(path.stem, forbidden_in_helper)
        broken += [f"{_name(path)}:{it.line} imports {it.module}" for it in imports(path) if forbidden(it)]
    assert broken == []


@pytest.mark.parametrize("domain", domains(), ids=_name)
def test_a_domain_is_flat_and_its_file_names_say_what_they_hold(domain: Path) -> None:
    with_code = {path.parent for path in domain.rglob("*.py")} - {domain, domain / "stores"} - LIBRARIES
    vague = [_name(path) for path in domain.rglob("*.py") if path.stem in VAGUE_NAMES]
    assert (sorted(map(_name, with_code)), vague) == ([], [])


@pytest.mark.parametrize("service", [name for name in SERVICES if (ROOT / name).is_dir()])
def test_a_service_has_its_settings_and_its_build(service: str) -> None:
    assert [name for name in ("settings.py", "build.py") if not (ROOT / service / name).exists()] == []


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    long = {
        _name(path): lines
        for path in python_files(*PACKAGES, "tests", "scripts", "bench")
        if (lines := path.read_text(encoding="utf-8").count("\n")) > LONGEST_FILE_LINES
    }
    assert long == {}


def test_engines_are_chosen_by_url_scheme_in_one_place_and_never_by_comparing_names() -> None:
    resolver = ROOT / "svc_kit" / "backends.py"
    found = [
        f"{_name(path)}:{line}"
        for path in python_files(*PACKAGES)
        if path != resolver
        for line in _engine_comparisons(tree(path))
    ]
    assert found == []


def _engine_comparisons(module: ast.Module) -> Iterator[int]:
    """Lines that compare something called backend, engine or scheme with a literal engine name."""
    for node in ast.walk(module):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.In):
            sides = (node.left, *node.comparators)
            if any(_last_word(side) in ADAPTER_WORDS for side in sides) and any(map(_names_engine, sides)):
                yield node.lineno
        elif isinstance(node, ast.Match) and _last_word(node.subject) in ADAPTER_WORDS:
            yield node.lineno


def _last_word(node: ast.expr) -> str:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.rpartition("_")[2]


def _names_engine(node: ast.expr) -> bool:
    values = [leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant)]
    return any(isinstance(value, str) and value not in {"http", "https", "ws", "wss"} for value in values)
