"""Parquet into batches of records, in their own types."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from varve.framing.record import Columns, Unreadable
from varve.framing.typed import Batch, stored

_MOST_CELLS: Final = 2_000_000  # of one batch in memory
_MOST_ROWS: Final = 131_072


def framed(path: Path, columns: Columns) -> Iterator[Batch]:
    """Frame a Parquet file; at least one batch is given, so that the types are known."""
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            if len(set(schema.names)) < len(schema.names):
                twice = sorted({n for n in schema.names if schema.names.count(n) > 1})
                raise Unreadable(f"duplicate columns: {twice} occur more than once")
            columns.declare(schema.names)
            position = 1
            size = min(_MOST_ROWS, max(1, _MOST_CELLS // max(1, len(schema.names))))
            for batch in file.iter_batches(batch_size=size):
                positions = pa.array(range(position, position + batch.num_rows), pa.int64())
                position += batch.num_rows
                yield Batch(positions, [stored(column) for column in batch.columns])
            if position == 1:
                yield Batch(pa.array([], pa.int64()), [stored(pa.array([], field.type)) for field in schema])
    except (pa.ArrowException, OSError) as error:
        raise Unreadable(f"damaged Parquet, maybe cut off: {error}") from error
