"""FramedRecord records as Parquet files: `part-…` for good ones, `rejects-…` for those with a reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from varve.framing import TypedRecords, type_name

Role = Literal["records", "rejects"]

_MOST_CELLS: Final = 2_000_000  # of one row group in memory
_MOST_TEXT: Final = 32 * 2**20  # [characters] of one row group in memory


class PartWriter:
    """Writes records to Parquet files, for use in a `with`; a record with fields not seen before begins a new file.

    new_file: gives the path of the next file; finished: is called with a file and its rows.
    rows: written so far; types: Spark's names of the fields' types, () when all are text.
    """

    def __init__(
        self, role: Role, new_file: Callable[[Role], Path], finished: Callable[[Path, Role, int], None]
    ) -> None:  # fmt: skip
        self.rows = 0
        self._role = role
        self._new_file = new_file
        self._finished = finished
        self._path = Path()
        self._positions: list[int] = []
        self._texts: list[str] = []
        self._values: list[Sequence[str | None]] = []
        self.types: tuple[str, ...] = ()
        self._size = 0
        self._schema: pa.Schema | None = None
        self._rows_of_file = 0
        self._is_any = False
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, position: int, text: str, values: Sequence[str | None], width: int) -> None:
        """Add a record of texts. position: from 1; values: maybe without trailing nulls; width: fields known so far."""
        self._positions.append(position)
        self._texts.append(text)
        self._values.append(values)
        self._size += len(text)
        if self._size > _MOST_TEXT or len(self._texts) * (width + 2) > _MOST_CELLS:
            self._flush(width)

    def add_batch(self, batch: TypedRecords) -> None:
        """Add records that arrived typed: their fields become c0 … cN, in their own types."""
        names = ["_position", *(f"c{index}" for index in range(len(batch.fields)))]
        self.types = tuple(type_name(field.type) for field in batch.fields)
        self._write(pa.Table.from_arrays([batch.positions, *batch.fields], names=names))

    def close(self, *, width: int, always: bool) -> None:
        """Write what is left. width: fields; always: write a file without rows too, where there is none yet."""
        if self._texts or (always and not self._is_any):
            self._flush(width)
        self._end_file()

    def _flush(self, width: int) -> None:
        texts = [[row[index] if index < len(row) else None for row in self._values] for index in range(width)]
        names = [f"c{index}" for index in range(width)] if self._role == "records" else ["_reason"]
        arrays = [pa.array(column, pa.string()) for column in (self._texts, *texts)]
        positions = pa.array(self._positions, pa.int64())
        self._write(pa.Table.from_arrays([positions, *arrays], names=["_position", "_record", *names]))
        self._positions, self._texts, self._values, self._size = [], [], [], 0

    def _write(self, table: pa.Table) -> None:
        if table.schema != self._schema:
            self._end_file()
            self._schema = table.schema
        if self._writer is None:
            self._path, self._is_any = self._new_file(self._role), True
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd", use_dictionary=[])
        self._writer.write_table(table)
        self._rows_of_file += table.num_rows

    def _end_file(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        self._finished(self._path, self._role, self._rows_of_file)
        self.rows += self._rows_of_file
        self._rows_of_file = 0
