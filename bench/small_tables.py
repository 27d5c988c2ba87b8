"""Fifty small tables in one process, against a process for each.

The separate processes are five, their time is multiplied by ten. They start Spark as the project does, without a shell
around it, so they are cheaper than a `spark-submit` would be.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench import spark as spark_
from bench.bench import Bench
from bench.peers import clone
from bench.peers.ours import Ours
from bench.workload import Workload

TABLES = 50
ALONE = 5
MOST_SHARE = 0.2


def run(bench: Bench) -> None:
    """Every table takes a day of 1 % changes: append and fold."""
    workload = Workload(bench.arguments.work / "inputs", bench.arguments.rows, days=1).make()
    changes = workload.day(1)
    with bench.part("tables") as wanted:
        if not wanted:
            return
        together, apart = bench.tables / "together", bench.tables / "apart"
        Ours(bench.spark, together, entity="t0").load(workload.load)
        for number in range(1, TABLES):
            for suffix in ("", "_changes"):
                clone(together / f"silver/t0{suffix}", together / f"silver/t{number}{suffix}")
        clone(together, apart)
        bench.spark.stop()
        bench.meter.spark = None
        with bench.timed("one process for all"):
            _process(bench, together, changes, 0, TABLES)
        for number in range(ALONE):
            with bench.timed("a process for one"):
                _process(bench, apart, changes, number, number + 1)
        seconds = bench.report.median("a process for one")
        all_apart = seconds and seconds * TABLES
        bench.report.value(f"{TABLES} processes, seconds computed from {ALONE}", all_apart)
        bench.report.aim_ratio(
            f"{TABLES} tables in one session / {TABLES} processes",
            bench.report.median("one process for all"), all_apart, MOST_SHARE,
        )  # fmt: skip


def _process(bench: Bench, lake: Path, changes: Path, first: int, last: int) -> None:
    told = [lake, changes, first, last, bench.arguments.memory]
    subprocess.run([sys.executable, "-m", "bench.small_tables", *map(str, told)], check=True)


def main(lake: str, changes: str, first: str, last: str, memory: str) -> None:
    """The process: append and fold the tables from `first` to before `last`."""
    spark = spark_.build(memory)
    for number in range(int(first), int(last)):
        ours = Ours(spark, Path(lake), entity=f"t{number}")
        ours.day(Path(changes))
        ours.fold()
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
