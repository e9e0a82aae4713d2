"""Migrations on MySQL, which commits with every change of a table: a revision whose migrator died is gone on with,
operation by operation, each leaving alone what is there already."""

from __future__ import annotations

from typing import Any

from alembic.ddl.mysql import MySQLImpl
from sqlalchemy import Column, Index, Table, inspect


class ResumableMySQL(MySQLImpl):
    """Alembic's operations for MySQL, each harmless when it is done already. Registered by its dialect's name."""

    __dialect__ = "mysql"

    def _inspector(self) -> Any:
        # A new one each time: it remembers what it was asked.
        return inspect(self.connection)

    def _has_column(self, table: str, column: str) -> bool:
        return any(found["name"] == column for found in self._inspector().get_columns(table))

    def _has_index(self, index: Index) -> bool:
        table = index.table
        assert table is not None
        return any(found["name"] == index.name for found in self._inspector().get_indexes(table.name))

    def create_table(self, table: Table, **kw: Any) -> None:
        if not self._inspector().has_table(table.name):
            super().create_table(table, **kw)

    def drop_table(self, table: Table, **kw: Any) -> None:
        if self._inspector().has_table(table.name):
            super().drop_table(table, **kw)

    def create_index(self, index: Index, **kw: Any) -> None:
        if not self._has_index(index):
            super().create_index(index, **kw)

    def drop_index(self, index: Index, **kw: Any) -> None:
        if self._has_index(index):
            super().drop_index(index, **kw)

    def add_column(self, table_name: str, column: Column[Any], **kw: Any) -> None:
        if not self._has_column(table_name, column.name):
            super().add_column(table_name, column, **kw)

    def drop_column(self, table_name: str, column: Column[Any], **kw: Any) -> None:
        if self._has_column(table_name, column.name):
            super().drop_column(table_name, column, **kw)
