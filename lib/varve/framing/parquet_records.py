"""Parquet into batches of records, in their own types."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from varve.framing.record import Columns, FramingError
from varve.framing.typed import TypedRecords, stored

_MOST_CELLS: Final = 2_000_000  # of one batch in memory
_MOST_ROWS: Final = 131_072


def framed_parquet(path: Path, columns: Columns) -> Iterator[TypedRecords]:
    """The rows of a Parquet file, in at least one batch, so that the types are known. Raises FramingError."""
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            if len(set(schema.names)) < len(schema.names):
                twice = sorted({n for n in schema.names if schema.names.count(n) > 1})
                raise FramingError(f"duplicate columns: {twice} occur more than once")
            columns.declare(schema.names)
            position = 1
            size = min(_MOST_ROWS, max(1, _MOST_CELLS // max(1, len(schema.names))))
            for fields in _fields(path, file, size):
                rows = len(fields[0]) if fields else 0
                yield TypedRecords(pa.array(range(position, position + rows), pa.int64()), fields)
                position += rows
            if position == 1:
                yield TypedRecords(pa.array([], pa.int64()), [stored(pa.array([], field.type)) for field in schema])
    except (pa.ArrowException, OSError) as error:
        raise FramingError(f"damaged Parquet, maybe cut off: {error}") from error


def _fields(path: Path, file: pq.ParquetFile, size: int) -> Iterator[list[pa.Array]]:
    """The columns of every batch, in types that raw holds.

    A time of the old 96 bits is read in nanoseconds, which keep all its digits, and in microseconds, which reach all
    years: where the first went round the end of its range, the second counts."""
    columns = [file.schema.column(place) for place in range(len(file.schema))]
    old = {column.path for column in columns if column.physical_type == "INT96"} & set(file.schema_arrow.names)
    if not old:
        for batch in file.iter_batches(batch_size=size):
            yield [stored(column) for column in batch.columns]
        return
    with pq.ParquetFile(path, coerce_int96_timestamp_unit="us") as reaching:
        for fine, far in zip(file.iter_batches(size), reaching.iter_batches(size), strict=True):
            yield [
                _whole_time(column, far.column(name)) if name in old else stored(column)
                for name, column in zip(fine.schema.names, fine.columns, strict=True)
            ]


def _whole_time(fine: pa.Array, far: pa.Array) -> pa.Array:
    """Times as text, without a digit or a year lost."""
    is_same = pc.equal(pc.floor_temporal(fine, unit="microsecond").cast("timestamp[us]"), far)
    return pc.if_else(is_same, fine.cast(pa.string()), far.cast(pa.string()))
