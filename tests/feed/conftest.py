"""Statements of every store are sharded, see `tests.support.shards`."""

from tests.support.shards import sharded_statements

__all__ = ["sharded_statements"]
