from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from varve.config.settings import Spark
from varve.spark import session


def test_a_delta_table_is_written_merged_and_read(spark: SparkSession, lake_dir: Path) -> None:
    table = str(lake_dir / "t")
    spark.range(4).write.format("delta").save(table)
    spark.sql(
        f"MERGE INTO delta.`{table}` t USING (SELECT explode(array(3L, 9L)) AS id) s ON t.id = s.id "
        "WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT *"
    )
    assert sorted(row.id for row in spark.read.format("delta").load(table).collect()) == [0, 1, 2, 9]


def test_partition_values_stay_text(spark: SparkSession, lake_dir: Path) -> None:
    spark.range(1).selectExpr("id", "'01' AS entity").write.partitionBy("entity").parquet(str(lake_dir / "p"))
    assert spark.read.parquet(str(lake_dir / "p")).first()["entity"] == "01"  # type: ignore[index]


def test_configuration_wins() -> None:
    assert session.runtime_options(Spark(master="local[3]"))["spark.sql.shuffle.partitions"] == "3"
    options = session.runtime_options(Spark(master="local[3]", conf={"spark.sql.shuffle.partitions": "7"}))
    assert options["spark.sql.shuffle.partitions"] == "7"


@pytest.mark.parametrize(
    ("memory_gib", "expected"),
    [
        pytest.param(1, "1024m", id="never less than 1 GiB"),
        pytest.param(10, "4096m", id="two fifths of the machine"),
        pytest.param(512, "12288m", id="never more than 12 GiB"),
    ],
)
def test_driver_memory_follows_the_machine(monkeypatch: pytest.MonkeyPatch, memory_gib: int, expected: str) -> None:
    monkeypatch.delenv("VARVE_DRIVER_MEMORY", raising=False)
    monkeypatch.setattr(session, "machine_memory", lambda: memory_gib * session.GIB)
    assert session.driver_memory("auto") == expected
    assert session.driver_memory("3g") == "3g"
    monkeypatch.setenv("VARVE_DRIVER_MEMORY", "5g")
    assert session.driver_memory("auto") == "5g"


def test_a_cluster_gets_the_jars_and_a_laptop_the_loopback() -> None:
    local, cluster = (
        session.launch_options(Spark(master="local[3]")),
        session.launch_options(Spark(master="spark://h:7077")),
    )
    assert local["spark.driver.host"] == "127.0.0.1"
    assert "spark.jars" not in local
    assert "spark.driver.host" not in cluster
    assert cluster["spark.jars"].count("file:") == len(session.delta_jars()) > 0


def test_our_flags_and_those_of_the_configuration_are_both_there() -> None:
    flags = session.launch_options(Spark(conf={"spark.driver.extraJavaOptions": "-Dx=1"}))[
        "spark.driver.extraJavaOptions"
    ]
    assert "-Duser.timezone=UTC" in flags
    assert flags.endswith(" -Dx=1")
