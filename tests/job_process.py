"""Jobs in a process of their own that stops at a point of its work: `python job_process.py [session]`.

Standard input says what to run, a line of JSON per job, see `Worker.ask`. What a job says goes to the file `output`,
and a line `exit N` comes back. With `session` all of them share one Spark session.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from in_process import launched


def point_of(name: str) -> tuple[Any, str]:
    """Where the act of this name is found: `Landing.publish`, `Store.append`, `DataFrameWriter.save` …"""
    from delta.tables import DeltaMergeBuilder
    from pyspark.sql import DataFrameWriter

    from varve.raw.landing import Landing, Publisher
    from varve.storage.delta import Store
    from varve.storage.small_tables import SmallTable

    owners = (Landing, Publisher, Store, DataFrameWriter, DeltaMergeBuilder, SmallTable)
    owner, _, act = name.partition(".")
    return next(one for one in owners if one.__name__.rpartition(".")[2] == owner), act


@contextmanager
def stopping(point: str, of: str, stop: Callable[[], None], how: str) -> Iterator[None]:
    """The first call of the act at the point that is told of this table stops before it begins; `inside`: when the
    first data file of it is there."""
    owner, name = point_of(point)
    act = getattr(owner, name)
    passed: list[bool] = []

    def stopped(*args: Any, **options: Any) -> Any:
        values = (getattr(value, "path", value) for value in (*args, *options.values()))  # of a small table its path
        told = [str(value) for value in values if isinstance(value, str | Path)]
        if passed or not (not of or any(value.endswith(of) for value in told)):
            return act(*args, **options)
        passed.append(True)
        if how == "inside":
            threading.Thread(target=watch, args=(Path(args[0].path(args[2], args[3])), stop), daemon=True).start()
        else:
            stop()
        return act(*args, **options)

    setattr(owner, name, stopped)
    try:
        yield
    finally:
        setattr(owner, name, act)


def watch(table: Path, stop: Callable[[], None]) -> None:
    before = set(table.rglob("*.parquet"))
    while not set(table.rglob("*.parquet")) - before:
        time.sleep(0.0005)
    stop()


def stop_at(mark: Path, how: str) -> Callable[[], None]:
    """Tell by the mark that the point is reached, and stop: the whole process group with its JVM, as a machine that is
    put to sleep; or, `how` being hold, only this thread, until the mark is gone."""

    def stop() -> None:
        mark.touch()
        if how == "hold":
            while mark.exists():
                time.sleep(0.01)
        else:
            os.killpg(os.getpgrp(), signal.SIGSTOP)

    return stop


def main(*words: str) -> None:
    if words == ("session",):
        from conftest import SETTINGS
        from varve.spark import session

        session.build(SETTINGS, app="job-process")
    for line in sys.stdin:
        told = json.loads(line)
        with Path(told["output"]).open("w", buffering=1) as out, redirect_stdout(out), redirect_stderr(out):
            if point := told.get("point"):
                how = told.get("how", "stop")
                with stopping(point, told.get("of", ""), stop_at(Path(told["mark"]), how), how):
                    code = launched(told["job"], *told["words"], has_session=bool(words))
            else:
                code = launched(told["job"], *told["words"], has_session=bool(words))
        print(f"exit {code}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
