"""`deploy/vitess` says of every table what it is sharded by, and is used by the suites of the stores."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    MetaData,
    String,
    Table,
    delete,
    or_,
    select,
    update,
)
from sqlalchemy.sql.schema import ColumnCollectionConstraint

from launcher.migrate import SERVICES, migrations_of
from tests.support.shards import lacking, vschema


@pytest.mark.parametrize("service", SERVICES)
def test_every_table_has_a_shard_and_every_vindex_a_table(service: str) -> None:
    spec, declared = vschema(service), migrations_of(service).metadata.tables
    lookups = {vindex["params"]["table"].partition(".")[2] for vindex in spec["vindexes"].values() if "owner" in vindex}
    assert spec["sharded"] and spec["tables"].keys() == declared.keys() | lookups
    for name, table in declared.items():
        entries = spec["tables"][name].get("column_vindexes", [])
        assert entries or spec["tables"][name] == {"pinned": "00"}
        for entry in entries:
            columns = entry.get("columns") or [entry["column"]]
            assert set(columns) <= {c.name for c in table.c}
            vindex = spec["vindexes"][entry["name"]]
            assert vindex.get("owner", name) == name
            if "owner" in vindex:
                assert vindex["params"]["from"] == ",".join(columns)
                assert vindex["params"]["table"].partition(".")[0] == service
        # Whatever leads to a shard alone is found by one value.
        assert [entry["name"] for entry in entries][:1] in ([], ["by_value"])


@pytest.mark.parametrize("service", SERVICES)
def test_a_lookup_that_promises_one_row_stands_on_a_unique_column(service: str) -> None:
    spec, declared = vschema(service), migrations_of(service).metadata.tables
    for vindex in spec["vindexes"].values():
        if vindex["type"] == "consistent_lookup_unique":
            table, column = declared[vindex["owner"]], vindex["params"]["from"]
            unique = [set(c.columns.keys()) for c in table.constraints if isinstance(c, ColumnCollectionConstraint)]
            unique += [set(index.columns.keys()) for index in table.indexes if index.unique]
            # Ids are unique by themselves, also where the key has another column before them.
            assert {column} in unique or column == "id", (vindex["owner"], column)


_M = MetaData()
_LIKES = Table("likes", _M, Column("user_id", BigInteger), Column("video_id", BigInteger), Column("name", String(9)))
_ACCOUNTS = Table("accounts", _M, Column("user_id", BigInteger), Column("name", String(9)))
_L, _A = _LIKES.c, _ACCOUNTS.c


@pytest.mark.parametrize(
    ("statement", "missing"),
    [
        (select(_LIKES).where(_L.user_id == 1), []),
        (select(_LIKES).where(_L.user_id.in_([1, 2]), _L.video_id > 3), []),
        (select(_LIKES).where(_L.video_id == 1), ["likes"]),
        (select(_LIKES).where(_L.user_id > 1), ["likes"]),
        (select(_LIKES), ["likes"]),
        (select(_LIKES).where(or_(_L.user_id == 1, _L.video_id == 2)), ["likes"]),
        (select(_LIKES).where(or_((_L.user_id == 1) & (_L.video_id == 2), _L.user_id == 3)), []),
        (select(_LIKES).where(_L.user_id.in_(select(_A.user_id).where(_A.name == "x"))), ["likes", "accounts"]),
        (select(_LIKES).join(_ACCOUNTS, _A.user_id == _L.user_id).where(_L.user_id == 1), []),
        (select(_LIKES).join(_ACCOUNTS, _A.user_id == _L.video_id).where(_L.user_id == 1), ["accounts"]),
        (select(_LIKES).where(_L.user_id == 1, select(_A.name).where(_A.user_id == _L.user_id).exists()), []),
        (select(_LIKES).where(_L.user_id == 1).union_all(select(_LIKES)), ["likes"]),
        (update(_LIKES).where(_L.user_id == 1).values(name="x"), []),
        (update(_LIKES).where(_L.name == "y").values(name="x"), ["likes"]),
        (delete(_LIKES), ["likes"]),
        (delete(_LIKES).where(_L.user_id == 1, _L.video_id == 2), []),
    ],
)
def test_a_statement_without_its_key_is_noticed(statement: Any, missing: list[str]) -> None:
    assert sorted(lacking(statement)) == sorted(missing)
