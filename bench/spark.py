"""The one Spark session of a benchmark: the project's own settings, for every competitor that uses Spark."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from bench.workload import PAYLOAD
from varve.config import Settings
from varve.spark import session

_KINDS: dict[str, T.DataType] = {
    "t": T.TimestampType(), "a": T.LongType(), "d": T.DoubleType(), "m": T.DecimalType(12, 2), "s": T.StringType()
}  # fmt: skip
ENTITY = T.StructType([T.StructField("k", T.LongType()), *[T.StructField(c, _KINDS[c[0]]) for c in PAYLOAD]])
CHANGE = T.StructType([*ENTITY, T.StructField("op", T.StringType()), T.StructField("valid_from", T.TimestampType())])


def build(memory: str) -> SparkSession:
    """Two cores, and `memory` for the driver."""
    settings = Settings.model_validate({"spark": {"master": "local[2]", "driver_memory": memory}})
    return session.build(settings, app="varve-bench")


def changes(spark: SparkSession, files: Path) -> DataFrame:
    """A file, or a folder of files, of the workload."""
    return spark.read.schema(CHANGE).parquet(str(files))


def digest(frame: DataFrame) -> int:
    """Read every column of every row, and give one number."""
    parts = F.xxhash64(*frame.columns).bitwiseAND(F.lit(0xFFFFFF))
    row = frame.agg(F.sum(parts)).first()
    assert row is not None
    return int(row[0] or 0)
