"""Reading Parquet columns with checks: what is broken is named by file, row and column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

MAX_ID = 2**63 - 1
NO_TIME = -1
"""Stands for a time or position that is null."""


class DatasetError(ValueError):
    """A dataset can't be used. The message names the file and, where there is one, row (from 0) and column."""


def read_table(path: Path) -> pa.Table:
    """A Parquet file, whole. Raises DatasetError."""
    try:
        names: list[str] = pq.read_schema(path).names
        for name in names:
            if names.count(name) > 1:
                raise DatasetError(f"{path}: there are {names.count(name)} columns {name}")
        return pq.read_table(path)
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file") from None
    except (OSError, pa.ArrowException) as error:
        said = " ".join(str(error).split())[:200]
        raise DatasetError(f"{path}: not a Parquet file that can be read: {said}") from error


def has(table: pa.Table, name: str) -> bool:
    """Whether there is such a column. One of type null, as pandas writes what is null throughout, is none."""
    return name in table.column_names and not pa.types.is_null(table.schema.field(name).type)


def ids(path: Path, table: pa.Table, name: str) -> NDArray[np.int64]:
    """[n] ids from 0 to 2^63-1. Raises DatasetError when the column is absent or a value is none."""
    if not has(table, name):
        there = ", ".join(map(str, table.column_names)) or "none"
        raise DatasetError(f"{path}: there is no column {name}; columns are {there}")
    return whole(path, table, name, null=None)


def whole(path: Path, table: pa.Table, name: str, *, null: int | None = NO_TIME) -> NDArray[np.int64]:
    """[n] whole numbers from 0; `null` for nulls, an error when it is None."""
    column = _flat(table, name)
    if column.null_count and null is None:
        _fail(path, name, np.asarray(column.is_null()), column, "is null")
    kind = column.type
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("ms"), safe=False).cast(pa.int64())
    elif pa.types.is_floating(kind):
        return _from_floats(path, name, column, null)
    elif not pa.types.is_integer(kind):
        raise DatasetError(f"{path}: column {name} is {kind}, must be int64")
    elif pa.types.is_uint64(kind):
        greatest = pa.scalar(MAX_ID, pa.uint64())
        _fail(path, name, _mask(pc.greater(column, greatest)), column, f"is more than {MAX_ID}")
    numbers = np.asarray(column.cast(pa.int64()).fill_null(0 if null is None else null), np.int64)
    known = ~np.asarray(column.is_null())
    _fail(path, name, (numbers < 0) & known, column, "is below 0")
    return numbers


def _from_floats(path: Path, name: str, column: Any, null: int | None) -> NDArray[np.int64]:
    # pandas writes whole numbers with gaps as floats; above 2^53 these would be other numbers.
    numbers = np.asarray(column.cast(pa.float64()).fill_null(np.nan), np.float64)
    gap = np.isnan(numbers)
    if null is None:
        _fail(path, name, gap, column, "is not a number")
    wrong = ~gap & ((numbers != np.floor(numbers)) | (np.abs(numbers) > 2**53) | (numbers < 0))
    _fail(path, name, wrong, column, "is not a whole number from 0 to 2^53, as floats keep them")
    return np.where(gap, 0 if null is None else null, numbers).astype(np.int64)


def flags(path: Path, table: pa.Table, name: str) -> NDArray[np.bool_]:
    """[n] booleans, null for false; 0 and 1 are taken too. None where the column is absent."""
    column = _flat(table, name)
    if pa.types.is_boolean(column.type):
        return np.asarray(column.fill_null(False), np.bool_)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise DatasetError(f"{path}: column {name} is {column.type}, must be bool")
    numbers = np.asarray(column.cast(pa.float64()).fill_null(0), np.float64)
    _fail(path, name, ~np.isin(numbers, (0.0, 1.0)), column, "is neither true nor false")
    return np.asarray(numbers == 1, np.bool_)


def floats(path: Path, table: pa.Table, name: str) -> NDArray[np.float64]:
    """[n] numbers, NaN for null; infinite ones are an error."""
    column = _flat(table, name)
    try:
        numbers = np.asarray(column.cast(pa.float64()).fill_null(np.nan), np.float64)
    except pa.ArrowException:
        raise DatasetError(f"{path}: column {name} is {column.type}, must be numbers") from None
    _fail(path, name, np.isinf(numbers), column, "is not finite")
    return numbers


def words(table: pa.Table, name: str) -> list[list[str]]:
    """By row, the values of a category column as text; lists give several, nulls and empty text none."""
    found = []
    for value in _flat(table, name).to_pylist():
        several = value if isinstance(value, list) else [value]
        texts = [_text(v) for v in several if v is not None]
        found.append([text for text in texts if text])
    return found


def _text(value: object) -> str:
    if isinstance(value, float):
        # A float column of categories is whole numbers with gaps: 9.0 and 9 are the same category.
        return "" if value != value else (str(int(value)) if value.is_integer() else str(value))
    return str(value).strip()


def strings(table: pa.Table, name: str) -> NDArray[np.str_]:
    """[n] texts, empty for null."""
    return np.asarray([_text(v) if v is not None else "" for v in _flat(table, name).to_pylist()], np.str_)


def vectors(path: Path, table: pa.Table, name: str) -> NDArray[np.float32]:
    """[n, d] from a column of lists of one length; zeros for null."""
    kind = _flat(table, name).type
    inner = kind.value_type if _is_list(kind) else None
    if inner is None or not (pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_null(inner)):
        raise DatasetError(f"{path}: column {name} is {kind}, must be lists of numbers")
    rows = _flat(table, name).to_pylist()
    lengths = {len(row) for row in rows if row is not None}
    width = max(lengths, default=0)
    found = np.zeros((len(rows), width), np.float32)
    for i, row in enumerate(rows):
        if row is None:
            continue
        if len(row) != width:
            raise DatasetError(f"{path}: row {i}, column {name}: has {len(row)} numbers, others {width}")
        if None in row:
            raise DatasetError(f"{path}: row {i}, column {name}: a number in it is null")
        found[i] = row
        if not np.isfinite(found[i]).all():
            raise DatasetError(f"{path}: row {i}, column {name}: a number in it is not finite")
    return found


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _flat(table: pa.Table, name: str) -> Any:
    column = table.column(name)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _mask(array: Any) -> NDArray[np.bool_]:
    return np.asarray(array.fill_null(False), np.bool_)


def _fail(path: Path, name: str, wrong: NDArray[np.bool_], column: Any, message: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DatasetError(f"{path}: row {row}, column {name}: {str(column[row].as_py())[:80]} {message}")
