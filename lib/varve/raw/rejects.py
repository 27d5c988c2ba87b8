"""What a batch does not take of the records of raw, into ops.rejects."""

from __future__ import annotations

from datetime import UTC, datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from varve.ops import tables
from varve.raw.batch import BATCH, Batch
from varve.storage.delta import Store


def reject_rows(
    rejected: DataFrame, batch: Batch, *, table_name: str, stage: str, rule: Column, reason: Column, record: Column
) -> DataFrame:
    """Rejected records as rows of ops.rejects.

    rejected: (scope_country, scope_entity, _manifest, _file, _position, …); table_name: `bronze.x`; stage: the layer
    that refused them; rule, reason, record: of its columns."""
    values = {
        "table_name": F.lit(table_name), "stage": F.lit(stage), "batch": F.lit(batch.name),
        "manifest": F.col("_manifest"), "file": F.col("_file"), "position": F.col("_position"),
        "rule": rule, "reason": reason, "record": record,
        "run_id": F.lit(batch.run), "rejected_at": F.lit(datetime.now(UTC)),
    }  # fmt: skip
    columns = tables.COLUMNS[tables.REJECTS]
    return rejected.select(*(values.get(name, F.col(name)).cast(kind).alias(name) for name, kind in columns.items()))


def keep_rejects(store: Store, rows: DataFrame, batch: Batch) -> None:
    """Add rows of ops.rejects, before the batch that leaves them out is committed. Raises StorageError."""
    store.append_shared(rows, "ops", tables.REJECTS, note={"kind": "rejects", BATCH: batch.name})
