"""From bytes to records: every record with its position, its exact text and its fields as text; what arrives typed
comes as batches of its own types. No Spark.

What a file cannot be framed for (half a gzip, a torn quote, a wrong encoding) is an `Unreadable`: the file is parked.
What one record is wrong for (a missing field, a NUL, a broken line) is in `Framed.reason`: the record is rejected.
Records = rows + rejects, always. A blank line of a CSV or NDJSON file is no record.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from varve.framing import csv_records, json_records, parquet_records
from varve.framing.received import unpacked
from varve.framing.record import Columns, Format, Framed, Unreadable
from varve.framing.typed import TypedRecords, stored, texts, type_name

__all__ = ["Columns", "Format", "Framed", "TypedRecords", "Unreadable", "framed", "stored", "texts", "type_name"]


def framed(path: Path, form: Format, columns: Columns) -> Iterator[Framed | TypedRecords]:
    """Frame the file at `path`; raises Unreadable, possibly after some records were given."""
    if path.stat().st_size == 0:
        raise Unreadable("empty file: 0 bytes, not even a header")
    if form.kind == "parquet":
        yield from parquet_records.framed(path, columns)
        return
    frame = {"csv": csv_records.framed, "json": json_records.framed, "ndjson": json_records.framed_lines}[form.kind]
    with unpacked(path) as stream:
        yield from frame(stream, form, columns)
