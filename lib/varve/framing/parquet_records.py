"""Parquet into records: values as text that loses nothing, the record's text as a JSON object of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from varve.framing.record import Columns, Framed, Unreadable

_BATCH: Final = 8_192


def framed(path: Path, columns: Columns) -> Iterator[Framed]:
    """Frame a Parquet file; every column becomes text."""
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names):
                twice = sorted({n for n in names if names.count(n) > 1})
                raise Unreadable(f"duplicate columns: {twice} occur more than once")
            columns.declare(names)
            position = 0
            for batch in file.iter_batches(batch_size=_BATCH):
                texts = [_texts(column) for column in batch.columns]
                for values in zip(*texts, strict=True) if texts else ():
                    position += 1
                    record = msgspec.json.encode(dict(zip(names, values, strict=True))).decode()
                    yield Framed(position, record, values)
    except (pa.ArrowException, OSError) as error:
        raise Unreadable(f"damaged Parquet, maybe cut off: {error}") from error


def _texts(column: pa.Array) -> list[str | None]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _texts(column.dictionary_decode())
    if pa.types.is_nested(kind):
        return [None if v is None else msgspec.json.encode(v, enc_hook=str).decode() for v in column.to_pylist()]
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return [None if v is None else v.hex() for v in column.to_pylist()]
    texts: list[str | None] = column.cast(pa.string()).to_pylist()
    return texts
