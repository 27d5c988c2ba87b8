"""The least work of a day: read key and hash of every open row, join them to the changes, write those as Parquet."""

from __future__ import annotations

from pathlib import Path

import duckdb
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from bench import spark as spark_
from bench.workload import PARQUET, PAYLOAD


def with_duckdb(index: Path, changes: Path, target: Path) -> None:
    """index: k and row_hash of the open rows."""
    sql = (
        f"SELECT new.* FROM '{changes}' AS new LEFT JOIN '{index}' AS old USING (k) "
        f"WHERE old.row_hash IS NULL OR old.row_hash <> (hash({', '.join(f'new.{c}' for c in PAYLOAD)}) >> 1)::BIGINT"
    )
    with duckdb.connect(config={"memory_limit": "9GB"}) as connection:
        connection.execute(f"COPY ({sql}) TO '{target}' {PARQUET}")


def with_spark(spark: SparkSession, index: Path, changes: Path, target: Path) -> None:
    """The same in Spark, the changes broadcast."""
    new = spark_.changes(spark, changes)
    old = spark.read.schema("k bigint, row_hash bigint").parquet(str(index))
    found = old.join(F.broadcast(new.select("k")), "k")
    differs = F.col("row_hash").isNull() | (F.col("row_hash") != F.xxhash64(*PAYLOAD))
    new.join(F.broadcast(found), "k", "left").filter(differs).drop("row_hash").write.parquet(str(target))
