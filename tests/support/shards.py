"""Every statement that product code sends carries the key that its tables are sharded by, or is listed with a reason.

`deploy/vitess/<service>.json` says what a table is sharded by, and which columns lead to the shard by a lookup;
`deploy/vitess/scatter.toml` lists the statements that ask every shard. A suite takes part by importing the fixture
`sharded_statements`, which runs with each of its tests.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import Engine, Table, event
from sqlalchemy.sql import operators
from sqlalchemy.sql.dml import Delete, Insert, Update
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
    ColumnClause,
    ExpressionClauseList,
    Grouping,
)
from sqlalchemy.sql.selectable import Alias, CompoundSelect, Select
from sqlalchemy.sql.visitors import iterate

ROOT = Path(__file__).parents[2]
VITESS = ROOT / "deploy" / "vitess"
SERVICES = ("graph", "media", "rank", "feed")
PRODUCT = (*(str(ROOT / f"{name}_svc") for name in SERVICES), str(ROOT / "svc_kit"))
PASSED_ON = (str(ROOT / "svc_kit" / "db.py"), str(ROOT / "svc_kit" / "databases"))


@cache
def keys_of(table: str, columns: frozenset[str]) -> frozenset[str] | None:
    """Columns that lead to a row's shard; None where the table lies whole on one."""
    for service in SERVICES:
        spec = vschema(service)["tables"].get(table)
        if spec is None:
            continue
        if "pinned" in spec:
            return None
        keys = [(entry.get("columns") or [entry["column"]])[0] for entry in spec["column_vindexes"]]
        if set(keys) <= columns:
            return frozenset(keys)
    raise AssertionError(f"deploy/vitess names no key of {table}")


@cache
def vschema(service: str) -> Any:
    return json.loads((VITESS / f"{service}.json").read_text())


@cache
def listed() -> frozenset[str]:
    with (VITESS / "scatter.toml").open("rb") as file:
        entries = tomllib.load(file)["statement"]
    assert all(entry["reason"] for entry in entries)
    return frozenset(entry["does"] for entry in entries)


def described(statement: Any) -> str:
    """Names a statement: its verb, its tables and the columns of its conditions."""
    verb = type(statement).__name__.lower().removeprefix("compound")
    named = {part.name for part in iterate(statement) if isinstance(part, Table)}
    target: Any = getattr(statement, "table", None)
    tables = sorted(named if target is None else named | {target.name})
    columns = sorted({c.name for c in _condition_columns(statement)})
    return f"{verb} {', '.join(tables)} by {', '.join(columns) or 'nothing'}"


def _condition_columns(statement: Any) -> Iterator[ColumnClause[Any]]:
    for element in iterate(statement):
        for condition in getattr(element, "_where_criteria", ()):
            for part in iterate(condition):
                if isinstance(part, ColumnClause) and isinstance(part.table, Table | Alias):
                    yield part


def lacking(statement: Any) -> list[str]:
    """The tables whose key the statement does not carry."""
    if isinstance(statement, Insert):
        return []  # every insert names all columns of its key, or the database refuses it
    if isinstance(statement, CompoundSelect):
        return [name for part in statement.selects for name in lacking(part)]
    missing: list[str] = []
    for element in iterate(statement):
        if isinstance(element, (Select, Update, Delete)):
            missing += _lacking_here(element, _bound(statement))
    return missing


def _lacking_here(statement: Any, outer: set[Any]) -> list[str]:
    froms: list[Any] = [statement.table] if isinstance(statement, (Update, Delete)) else list(_tables(statement))
    bound = _bound(statement) | outer
    equal = list(_equalities(statement))
    for _ in equal:
        bound |= {b for a, b in equal if a in bound} | {a for a, b in equal if b in bound}
    missing = []
    for source in froms:
        table = getattr(source, "element", source)
        if table.schema is not None:
            continue  # the server's catalogue
        keys = keys_of(table.name, frozenset(c.name for c in table.c))
        if keys is not None and not any(source.c[key] in bound for key in keys):
            missing.append(table.name)
    return missing


def _tables(select: Any) -> Iterator[Any]:
    for source in select.get_final_froms():
        for part in iterate(source):
            if isinstance(part, (Table, Alias)):
                yield part


def _conditions(statement: Any) -> Iterator[Any]:
    yield from getattr(statement, "_where_criteria", ())
    if isinstance(statement, Select):
        for source in statement.get_final_froms():
            for part in iterate(source):
                if (on := getattr(part, "onclause", None)) is not None:
                    yield on


def _bound(statement: Any) -> set[Any]:
    """Columns that equal a parameter wherever a row is found."""
    found: set[Any] = set()
    for condition in _conditions(statement):
        found |= _bound_by(condition)
    return found


def _bound_by(condition: Any) -> set[Any]:
    if isinstance(condition, Grouping):
        return _bound_by(condition.element)
    if isinstance(condition, (BooleanClauseList, ExpressionClauseList)):
        parts = [_bound_by(part) for part in condition.clauses]
        if condition.operator is operators.and_:
            return set().union(*parts)
        return set.intersection(*parts) if condition.operator is operators.or_ and parts else set()
    if isinstance(condition, BinaryExpression) and isinstance(condition.left, ColumnClause):
        if condition.operator is operators.in_op and not _has_select(condition.right):
            return {condition.left}
        if condition.operator is operators.eq and not isinstance(condition.right, ColumnClause):
            return {condition.left} if not _has_select(condition.right) else set()
    return set()


def _has_select(element: Any) -> bool:
    return any(isinstance(part, Select) for part in iterate(element)) and not isinstance(element, BindParameter)


def _equalities(statement: Any) -> Iterator[tuple[Any, Any]]:
    for condition in _conditions(statement):
        for part in iterate(condition):
            if isinstance(part, BinaryExpression) and part.operator is operators.eq:
                sides = part.left, part.right
                if all(isinstance(side, ColumnClause) for side in sides):
                    yield sides


def _callers() -> Iterator[FrameType]:
    """The frames of this greenlet, then of the one that waits for it: SQLAlchemy runs drivers in one of their own."""
    frame: FrameType | None = sys._getframe(1)
    current: Any = import_module("greenlet").getcurrent()
    while True:
        while frame is not None:
            yield frame
            frame = frame.f_back
        if current.parent is None:
            return
        current = current.parent
        frame = current.gr_frame


def _is_ours() -> bool:
    """Whether product code sends it, not a test that looks."""
    for frame in _callers():
        name = frame.f_code.co_filename
        if name.startswith(str(ROOT / "tests")) and name != __file__:
            return False
        if name.startswith(PRODUCT) and not name.startswith(PASSED_ON):
            return True
    return False


_SHAPES: dict[Any, str | None] = {}


def wrong(statement: Any) -> str | None:
    """What is wrong with a statement; None when nothing is."""
    if not isinstance(statement, (Select, CompoundSelect, Update, Delete)):
        return None
    shape = statement._generate_cache_key()
    if shape is None:
        return _examined(statement)
    if shape.key not in _SHAPES:
        _SHAPES[shape.key] = _examined(statement)
    return _SHAPES[shape.key]


def _examined(statement: Any) -> str | None:
    missing = lacking(statement)
    if not missing or described(statement) in listed():
        return None
    return f"{described(statement)!r} lacks the key of {', '.join(sorted(set(missing)))}"


@pytest.fixture(autouse=True)
def sharded_statements() -> Iterator[None]:
    """Fails a test during which product code sent a statement that goes to every shard and is not listed."""
    found: list[str] = []

    def look(_connection: Any, statement: Any, *_: Any) -> None:
        problem = wrong(statement)
        if problem and problem not in found and _is_ours():
            found.append(problem)

    event.listen(Engine, "before_execute", look)
    yield
    event.remove(Engine, "before_execute", look)
    assert not found, "\n".join(["not sharded, and not in deploy/vitess/scatter.toml:", *found])
