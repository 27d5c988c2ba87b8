"""Fifty small tables in one process, against a process for each.

The separate processes are five, their time is multiplied by ten. They start Spark as the project does, without the
shell and the configuration around it, so they are cheaper than a `./spark-submit.sh` would be.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import spark as spark_
from bench.bench import Bench
from bench.peers import clone
from bench.peers.ours import Ours
from bench.workload import Workload

PARTS = ("tables",)
TABLES = 50
ALONE = 5
AT_ONCE = 4  # tables side by side in one session, as the silver job loads them
MOST_SHARE = 0.2


def run(bench: Bench) -> None:
    """Every table takes a day of 1 % changes: append and fold."""
    workload = Workload(bench.inputs, bench.arguments.rows, days=1).make()
    with bench.part("tables") as wanted:
        if wanted:
            together, apart = _lakes(bench, workload)
            with bench.timed("one session: all tables"):
                _process(bench, together, workload, 0, TABLES)
            for number in range(ALONE):
                with bench.timed("own process: one table"):
                    _process(bench, apart, workload, number, number + 1)
            _check(bench, workload, "one session", together, TABLES)
            _check(bench, workload, "own process", apart, ALONE)
            seconds = bench.report.median("own process: one table")
            all_apart = seconds and seconds * TABLES
            bench.report.value(f"{TABLES} processes, seconds computed from {ALONE}", all_apart)
            all_together = bench.report.median("one session: all tables")
            name = f"{TABLES} tables in one session / {TABLES} processes"
            bench.report.aim_ratio(name, all_together, all_apart, MOST_SHARE)


def _lakes(bench: Bench, workload: Workload) -> tuple[Path, Path]:
    """Two lakes with all the tables, each loaded; the session that made them is gone."""
    together, apart = bench.tables / "together", bench.tables / "apart"
    Ours(bench.spark, together, entity="t0").load(workload.load)
    for number in range(1, TABLES):
        for suffix in ("", "_changes"):
            clone(together / f"silver/t0{suffix}", together / f"silver/t{number}{suffix}")
    clone(together, apart)
    bench.spark.stop()
    bench.meter.spark = None
    return together, apart


def _process(bench: Bench, lake: Path, workload: Workload, first: int, last: int) -> None:
    told = [lake, workload.day(1), first, last, bench.arguments.memory]
    subprocess.run([sys.executable, "-m", "bench.small_tables", *map(str, told)], check=True)


def _check(bench: Bench, workload: Workload, name: str, lake: Path, tables: int) -> None:
    for number in range(tables):
        bench.is_right(Ours(bench.spark, lake, name=name, entity=f"t{number}"), [workload.load, workload.day(1)])


def main(lake: str, changes: str, first: str, last: str, memory: str) -> None:
    """The process: append and fold the tables from `first` to before `last`."""
    spark = spark_.build(memory)

    def take(number: int) -> None:
        ours = Ours(spark, Path(lake), entity=f"t{number}")
        ours.day(Path(changes))
        ours.fold()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(take, range(int(first), int(last))))
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
