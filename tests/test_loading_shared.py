"""Tables that several processes write at once, on a disk: no commit is lost, whoever made the table."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conftest import PYTHONPATH
from fake_frame import BATCHES
from varve.ops import tables
from varve.storage.delta import Store


def appending(lake: Path, hows: Sequence[str]) -> list[subprocess.Popen[bytes]]:
    return [
        subprocess.Popen(
            [sys.executable, "-m", "fake_frame", str(lake), f"process{n}", how],
            cwd=Path(__file__).parent, env={**os.environ, "PYTHONPATH": PYTHONPATH},
        )
        for n, how in enumerate(hows)
    ]  # fmt: skip


def batches(lake: Path) -> list[str]:
    return sorted(row["batch"] for row in tables.rows(lake, tables.REJECTS, columns=["batch"]))


def expected(processes: int) -> list[str]:
    return sorted(f"process{n}.{number}" for n in range(processes) for number in range(BATCHES))


@pytest.mark.parametrize(
    "hows",
    [
        pytest.param(["rows"] * 4, id="rows of our own", marks=pytest.mark.slow),
        pytest.param(["files"] * 4, id="files of Spark", marks=pytest.mark.slow),
        pytest.param(["rows", "files"] * 2, id="both"),
        pytest.param(["rows", "files", "forgets"], id="beside one that takes rows back"),
    ],
)
def test_four_processes_append_a_hundred_batches_each(lake_dir: Path, hows: Sequence[str]) -> None:
    processes = appending(lake_dir, hows)
    assert [process.wait(300) for process in processes] == [0] * len(hows)
    assert batches(lake_dir) == expected(len([how for how in hows if how != "forgets"]))


@pytest.mark.slow
def test_spark_appends_beside_other_processes(lake_dir: Path, spark: SparkSession) -> None:
    processes = appending(lake_dir, ["rows", "files"])
    store = Store(lambda: spark, lake_dir)
    for number in range(20):
        rows = spark.createDataFrame([("bronze.t", f"spark.{number}")], "table_name string, batch string")
        named = rows.selectExpr(*(
            f"{name if name in rows.columns else f'cast(null as {kind})'} as {name}"
            for name, kind in tables.COLUMNS[tables.REJECTS].items()
        ))  # fmt: skip
        assert store.append_shared(named, "ops", tables.REJECTS, note={"kind": "rejects"}) == 1
    assert [process.wait(300) for process in processes] == [0, 0]
    assert batches(lake_dir) == sorted([*expected(2), *(f"spark.{number}" for number in range(20))])
