"""A small table is read as its Parquet files: the rows, columns and types are those that Delta reads."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
from chispa import assert_df_equality
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from varve.storage import delta, plain
from varve.storage.delta import Store

TEXTS = (
    "ES", "a b", " a", "ü", "50%", "%41", "a/b", "a=b", "x:y", "o'c", 'o"c', "{x}", "[x]", "a#b", "a?b", "a*b", "a+b",
    "a\\b", "1e3", "01", "true", "null", "2024-01-01", "東",
)  # fmt: skip
COLUMNS = (
    "cast(id as int) as n",
    "id as big",
    "cast(id / 7 as decimal(20,6)) as exact",
    "id / 3 as wide",
    "id % 2 = 0 as is_even",
    "timestamp '2024-03-31 01:30:00' + make_dt_interval(0, 0, 0, id) as at",
    "date '0001-01-01' + cast(id as int) as day",
    "cast(cast(id as string) as binary) as bytes",
    "if(id = 1, null, 'x') as text",
    "named_struct('a', id, 'b', array(id)) as nested",
)


@pytest.fixture
def store(shared_spark: SparkSession, lake_dir: Path) -> Store:
    return Store(lambda: shared_spark, str(lake_dir))


def rows_of(spark: SparkSession, *texts: str) -> DataFrame:
    """Four rows in every partition."""
    partitions = spark.createDataFrame([("ES", text) for text in texts], "scope_country string, scope_entity string")
    return spark.range(4).selectExpr(*COLUMNS).crossJoin(partitions)


def by_delta(store: Store, table: str, version: int | None = None) -> DataFrame:
    with patch.object(delta, "plain_files", lambda *_: None):
        return store.read("silver", table, version=version)


def is_plain(store: Store, table: str, version: int | None = None) -> bool:
    path = store.path("silver", table)
    return plain.plain_files(DeltaTable(path, version=version), path) is not None


def must_be_equal(store: Store, table: str, version: int | None = None) -> None:
    one, other = store.read("silver", table, version=version), by_delta(store, table, version)
    assert one.dtypes == other.dtypes
    by = ["scope_entity", "n"]
    assert_df_equality(one.orderBy(by), other.orderBy(by), ignore_nullable=True)


def appended(store: Store, rows: DataFrame, number: int, **options: dict[str, str]) -> None:
    store.append(rows, "silver", "t", txn="t", version=number, **options)  # type: ignore[arg-type]


def test_values_of_partitions_and_types_are_those_of_delta(store: Store, shared_spark: SparkSession) -> None:
    with patch.object(plain, "MOST_FILES", 10_000):
        appended(store, rows_of(shared_spark, *TEXTS), 0)
        assert is_plain(store, "t")
        must_be_equal(store, "t")
        assert store.read("silver", "t").count() == 4 * len(TEXTS)


def test_a_new_column_is_null_in_older_files_and_absent_from_older_versions(
    store: Store, shared_spark: SparkSession
) -> None:
    few = rows_of(shared_spark, "north")
    appended(store, few, 0)
    appended(store, few.withColumn("later", F.lit(1)), 1)
    assert is_plain(store, "t")
    must_be_equal(store, "t")
    must_be_equal(store, "t", version=0)
    assert "later" not in store.read("silver", "t", version=0).columns


def test_rows_in_a_deletion_vector_stay_deleted(store: Store, shared_spark: SparkSession) -> None:
    few = rows_of(shared_spark, "north")
    appended(store, few, 0, properties={"delta.enableDeletionVectors": "true"})
    assert is_plain(store, "t")
    store.remove(F.col("n") == 1, "silver", "t", note={"kind": "test"})
    assert not is_plain(store, "t")
    must_be_equal(store, "t")
    assert store.read("silver", "t").count() == 3
    assert is_plain(store, "t", version=0)


def test_what_was_read_stays_as_it_was_when_the_table_goes_on(store: Store, shared_spark: SparkSession) -> None:
    few = rows_of(shared_spark, "north")
    appended(store, few, 0)
    before = store.read("silver", "t")
    appended(store, few, 1)
    store.replace(few.limit(1), "silver", "t")
    assert (before.count(), store.read("silver", "t").count()) == (4, 1)


@pytest.mark.parametrize(
    ("limit", "most"),
    [pytest.param("MOST_FILES", 1, id="many files"), pytest.param("MOST_BYTES", 10, id="large files")],
)
def test_other_tables_are_read_by_delta(limit: str, most: int, store: Store, shared_spark: SparkSession) -> None:
    few = rows_of(shared_spark, "north")
    appended(store, few, 0)
    appended(store, few, 1)
    with patch.object(plain, limit, most):
        assert not is_plain(store, "t")
        must_be_equal(store, "t")


def test_a_table_without_rows_has_its_columns(store: Store, shared_spark: SparkSession) -> None:
    few = rows_of(shared_spark, "north")
    appended(store, few, 0)
    store.replace(few.limit(0), "silver", "t")
    assert store.read("silver", "t").columns == by_delta(store, "t").columns
    assert store.read("silver", "t").isEmpty()
