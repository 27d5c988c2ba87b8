"""Varve's history engine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bench import spark as spark_
from bench.peers import COLUMNS
from bench.workload import PAYLOAD
from varve.history import Policy
from varve.history_table import HistoryTable
from varve.history_table.snapshot_log import Snapshot
from varve.model.scope import Scope
from varve.storage.delta import Store

SCOPE = Scope("XX", "bench")
POLICY = Policy(keys=("k",), attributes=PAYLOAD)


class Ours:
    """A change is visible once it is appended; `fold` brings the stored versions up to it."""

    def __init__(self, spark: SparkSession, folder: Path, *, name: str = "varve", entity: str = "orders") -> None:
        self.name, self.spark, self.folder, self.entity = name, spark, folder, entity
        self.table = HistoryTable(Store(lambda: spark, folder), entity, POLICY, schema=spark_.ENTITY)

    def load(self, files: Path) -> None:
        self.day(files)
        self.fold()

    def day(self, changes: Path) -> None:
        is_empty = changes.is_file() and not rows_of(changes)
        self.table.append(self._observed(changes), self.table.batch(), is_empty=is_empty)

    def fold(self) -> None:
        """What a run does after it has appended."""
        self.table.fold()

    def take_snapshot(self, files: Path, number: int) -> None:
        """A complete picture: compare, append, fold."""
        as_of = datetime(2026, 3, number, tzinfo=UTC)
        snapshot = Snapshot(manifest=f"snapshot-{number}", scopes=(SCOPE,), as_of=as_of, recorded_at=as_of)
        rows = self._scoped(spark_.changes(self.spark, files)).select(*POLICY.identity, *POLICY.payload)
        self.table.append_snapshot(self.table.compare(rows, snapshot), self.table.batch())
        self.table.fold()

    def read_keys(self, keys: list[int], *, alone: bool = False) -> int:
        """alone: nothing else is read of this state, so nothing need be kept for it."""
        found = self.table.read(is_narrow=alone).filter(F.col("k").isin(keys) & ~F.col("is_deleted"))
        return len(found.collect())

    def count_current(self) -> int:
        return self.table.read().filter("is_current").count()

    def history(self) -> str:
        return f"SELECT {', '.join(COLUMNS)} FROM delta_scan('{self.versions}') WHERE NOT is_deleted"

    @property
    def versions(self) -> Path:
        """The folder of the versions."""
        return self.folder / "silver" / self.entity

    def optimize(self) -> None:
        """Put small files of the log and of the versions together."""
        self.table.compact()

    def _observed(self, changes: Path) -> DataFrame:
        return self._scoped(spark_.changes(self.spark, changes)).withColumns(
            {
                "sequence": F.lit(None).cast("bigint"),
                "recorded_at": F.col("valid_from"),
                "manifest": F.lit(str(changes)),
                "contract_version": F.lit("1"),
            }
        )

    def _scoped(self, frame: DataFrame) -> DataFrame:
        return frame.withColumns({"scope_country": F.lit(SCOPE.country), "scope_entity": F.lit(SCOPE.entity)})


def rows_of(file: Path) -> int:
    """Rows of a Parquet file by its footer: a manifest tells it where there is one."""
    return int(pyarrow.parquet.read_metadata(file).num_rows)
