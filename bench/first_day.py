"""The first day: `daily` on a fresh lake, against a plain Spark program that appends each of the same tables once.

The plain program reads one Parquet file per table, which were made from a finished lake before; it types, checks and
compares nothing. Its session has the project's settings. Both are whole processes, one after the other, in turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
from deltalake import DeltaTable, QueryBuilder

from bench import spark as spark_
from bench.bench import Bench

PARTS = ("day",)
PROJECT = Path(__file__).resolve().parents[1]
ROUNDS = 3
MOST_RATIO = 2.0
MOST_SECONDS = 2.0  # of a run that finds nothing new


def run(bench: Bench) -> None:
    """Three first days and three plain programs, in turns; each lake then takes the day again."""
    with bench.part("day") as wanted:
        if wanted:
            prepared = bench.tables / "prepared"
            _daily(prepared)  # also makes the company, which no figure counts
            rows = _exported(prepared, bench.tables / "exported")
            for number in range(ROUNDS):
                lake, plain = bench.tables / f"lake{number}", bench.tables / f"plain{number}"
                with bench.timed("varve: first day", lake):
                    _daily(lake)
                with bench.timed("plain: first day", plain):
                    _plain(bench.tables / "exported", plain, bench.arguments.memory)
                with bench.timed("varve: second run", lake):
                    _daily(lake)
                bench.drop(lake)
                bench.drop(plain)
            bench.report.value("rows", rows)
            ours, theirs = bench.report.median("varve: first day"), bench.report.median("plain: first day")
            bench.report.aim_ratio("first day / plain program", ours, theirs, MOST_RATIO)
            bench.report.aim("second run [s]", bench.report.median("varve: second run"), MOST_SECONDS)


def _daily(lake: Path) -> None:
    command = [PROJECT / "spark-submit.sh", "daily", "--lake", lake, "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=PROJECT)


def _exported(lake: Path, folder: Path) -> int:
    """One Parquet file per table of bronze, silver and gold; returns how many rows they hold together."""
    rows = 0
    for log in sorted(lake.glob("*/*/_delta_log")):
        layer, table = log.parts[-3:-1]
        if layer != "ops":
            found = QueryBuilder().register("t", DeltaTable(str(log.parent))).execute("SELECT * FROM t").read_all()
            (folder / layer).mkdir(parents=True, exist_ok=True)
            pyarrow.parquet.write_table(pyarrow.table(found), folder / layer / f"{table}.parquet")
            rows += found.num_rows
    return rows


def _plain(exported: Path, lake: Path, memory: str) -> None:
    command = [sys.executable, "-m", "bench.first_day", exported, lake, memory]
    subprocess.run(command, check=True, cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)})


def main(exported: str, lake: str, memory: str) -> None:
    """The plain program."""
    spark = spark_.build(memory)
    for file in sorted(Path(exported).rglob("*.parquet")):
        target = Path(lake, file.parent.name, file.stem)
        spark.read.parquet(str(file)).write.format("delta").mode("append").save(str(target))
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
