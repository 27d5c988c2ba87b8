"""One Delta table and one MERGE a day: as Delta's documentation has it, and as well as it can be done."""

from __future__ import annotations

from pathlib import Path

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bench import spark as spark_
from bench.peers import COLUMNS

VECTORS = {"delta.enableDeletionVectors": "true"}


class NaiveMerge:
    """The union trick of "Slowly changing data (SCD) Type 2" in Delta's documentation, default table properties."""

    def __init__(self, spark: SparkSession, folder: Path, *, name: str = "naive", vectors: bool = False) -> None:
        self.spark, self.folder, self.name = spark.newSession(), folder, name
        self.spark.conf.set("spark.sql.adaptive.enabled", "true")  # as Spark has it by default
        self.properties = VECTORS if vectors else {}

    def load(self, files: Path) -> None:
        rows = spark_.changes(self.spark, files).drop("op")
        versions = rows.withColumns({"valid_to": F.lit(None).cast("timestamp"), "is_current": F.lit(True)})
        versions.write.format("delta").options(**self.properties).save(str(self.folder))

    def day(self, changes: Path) -> None:
        rows = spark_.changes(self.spark, changes)
        self._merge(self._staged(rows), "old.k = new._merge_key", "old.is_current = true", "new.op <> 'delete'")

    def _staged(self, rows: DataFrame) -> DataFrame:
        """Every change to close what it replaces, and those that replace something once more, to be inserted."""
        current = self._rows().filter("is_current").select("k")
        again = rows.filter("op <> 'delete'").join(current, "k").select(*rows.columns)
        return rows.withColumn("_merge_key", F.col("k")).unionByName(
            again.withColumn("_merge_key", F.lit(None).cast("bigint"))
        )

    def _merge(self, source: DataFrame, on: str, matched: str | None, unmatched: str) -> None:
        values = {c: f"new.{c}" for c in (*spark_.ENTITY.names, "valid_from")}
        (
            DeltaTable.forPath(self.spark, str(self.folder))
            .alias("old")
            .merge(source.alias("new"), on)
            .whenMatchedUpdate(condition=matched, set={"valid_to": "new.valid_from", "is_current": "false"})
            .whenNotMatchedInsert(condition=unmatched, values={**values, "valid_to": "null", "is_current": "true"})
            .execute()
        )

    def _rows(self) -> DataFrame:
        return self.spark.read.format("delta").load(str(self.folder))

    def read_keys(self, keys: list[int]) -> int:
        return len(self._rows().filter(F.col("k").isin(keys)).collect())

    def count_current(self) -> int:
        return self._rows().filter("is_current").count()

    def history(self) -> str:
        return f"SELECT {', '.join(COLUMNS)} FROM delta_scan('{self.folder}')"


class TunedMerge(NaiveMerge):
    """The same without the join, with deletion vectors and with current rows in a partition of their own."""

    def __init__(self, spark: SparkSession, folder: Path, *, name: str = "tuned merge") -> None:
        super().__init__(spark, folder, name=name, vectors=True)

    def load(self, files: Path) -> None:
        rows = spark_.changes(self.spark, files).drop("op")
        versions = rows.withColumns({"valid_to": F.lit(None).cast("timestamp"), "is_current": F.lit(True)})
        writer = versions.write.format("delta").partitionBy("is_current").options(**self.properties)
        writer.save(str(self.folder))

    def day(self, changes: Path) -> None:
        rows = spark_.changes(self.spark, changes)
        on = "old.k = new._merge_key and old.is_current = true"
        self._merge(self._staged(rows), on, None, "new._merge_key is null")

    def _staged(self, rows: DataFrame) -> DataFrame:
        closing = rows.withColumn("_merge_key", F.col("k"))
        opening = rows.filter("op <> 'delete'").withColumn("_merge_key", F.lit(None).cast("bigint"))
        return closing.unionByName(opening)
