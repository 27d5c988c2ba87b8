"""Runs in dlt's own environment: `python dlt_scd2.py <parquet files> <duckdb file>`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
from dlt.sources.helpers.transform import add_row_hash_to_table

HASH = "row_hash"


def rows(pattern: str) -> Iterator[pa.Table]:
    """The state, in pieces."""
    folder, _, name = pattern.rpartition("/")
    for file in sorted(Path(folder).glob(name)):
        for batch in pq.ParquetFile(file).iter_batches(batch_size=1_000_000):
            table = pa.Table.from_batches([batch])
            yield table.drop_columns([c for c in ("op", "valid_from") if c in table.column_names])


def main(pattern: str, database: str) -> None:
    """Take the state as a complete extract."""
    orders = dlt.resource(
        rows(pattern), name="orders", primary_key="k",
        write_disposition={"disposition": "merge", "strategy": "scd2", "row_version_column_name": HASH},
    )  # fmt: skip
    orders.add_map(add_row_hash_to_table(HASH))
    pipeline = dlt.pipeline(
        "varve_bench", pipelines_dir="pipelines", destination=dlt.destinations.duckdb(database), dataset_name="bench"
    )
    pipeline.run(orders)


if __name__ == "__main__":
    main(*sys.argv[1:])
