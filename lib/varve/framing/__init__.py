"""From bytes to records: every record with its position, its exact text and its fields as text; what arrives typed
comes as batches of its own types. No Spark.

A file that cannot be framed (half a gzip, a torn quote, a wrong encoding) raises a `FramingError`, and is parked. A
record that is wrong by itself (a missing field, a NUL, a broken line) has a `FramedRecord.reason`, and is rejected.
Records = rows + rejects, always. A blank line of a CSV or NDJSON file is no record.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from varve.framing.csv_records import framed_csv
from varve.framing.json_records import framed_json, framed_ndjson
from varve.framing.parquet_records import framed_parquet
from varve.framing.received import unpacked
from varve.framing.record import Columns, Format, FramedRecord, FramingError
from varve.framing.typed import TypedRecords, stored, texts, type_name

__all__ = [
    "Columns",
    "Format",
    "FramedRecord",
    "FramingError",
    "TypedRecords",
    "framed",
    "stored",
    "texts",
    "type_name",
]


def framed(path: Path, form: Format, columns: Columns) -> Iterator[FramedRecord | TypedRecords]:
    """The records of a file, in its order: one by one as text, or many at once where it has types (Parquet).

    columns: gets the names of the fields while the records are read. Raises FramingError, maybe after some records."""
    if path.stat().st_size == 0:
        raise FramingError("empty file: 0 bytes, not even a header")
    if form.kind == "parquet":
        yield from framed_parquet(path, columns)
        return
    frame = {"csv": framed_csv, "json": framed_json, "ndjson": framed_ndjson}[form.kind]
    with unpacked(path) as stream:
        yield from frame(stream, form, columns)
