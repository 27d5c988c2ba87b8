"""What Varve writes is plain Delta: DuckDB reads the versions, deletion vectors included."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import duckdb_extensions
import pytest
from pyspark.sql import DataFrame, SparkSession

from varve.history import Policy
from varve.history_table import HistoryTable, folding, pending
from varve.storage.delta import Store

CHANGES = (
    "scope_country string, scope_entity string, k bigint, v string, op string, valid_from timestamp, sequence bigint, "
    "recorded_at timestamp, manifest string, contract_version string"
)


def test_duckdb_reads_the_versions(lake_dir: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "REWRITE_BELOW_ROWS", 0)  # a MERGE with deletion vectors, as large tables have
    monkeypatch.setattr(folding, "REWRITE_ABOVE_SHARE", 9.0)
    table = HistoryTable(Store(lambda: spark, lake_dir), "thing", Policy(keys=("k",), attributes=("v",)))

    def changes(day: int, *rows: tuple[int, str, str]) -> DataFrame:
        at = datetime(2026, 1, day, tzinfo=UTC)
        return spark.createDataFrame([("ES", "a", k, v, op, at, None, at, "m", "1") for k, v, op in rows], CHANGES)

    table.append(changes(1, (1, "A", "upsert"), (2, "B", "upsert")), table.batch())
    table.fold()
    table.append(changes(2, (1, "C", "upsert")), table.batch())
    table.fold()

    connection = duckdb.connect()
    duckdb_extensions.import_extension("delta", con=connection)
    rows = connection.execute(
        "select k, v, day(valid_from), day(valid_to), is_current from delta_scan(?) order by k, valid_from",
        [str(lake_dir / "silver" / "thing")],
    ).fetchall()
    assert rows == [(1, "A", 1, 2, False), (1, "C", 2, None, True), (2, "B", 1, None, True)]
