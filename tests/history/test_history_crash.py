"""Killed anywhere and run again, history ends as if nothing had happened: SIGKILL at points and at random."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conftest import PYTHONPATH

from .crash import POINTS, crash_world, run
from .engine import ENTITY, Engine
from .frames import held_by, versions_of
from .worlds import TIME_LAW

TESTS = Path(__file__).resolve().parents[1]
LONGEST = 300  # [s] for one process on a busy machine
DEFAULT = {("after staging a fold", 2), ("after the commit of an append", 2)}


def started(lake: Path, mark: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "history.crash", str(lake), str(mark), *words],
        cwd=TESTS, env={**os.environ, "PYTHONPATH": PYTHONPATH}, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def check_after_a_kill(engine: Engine) -> None:
    """What a reader finds: everything that was committed, once, and every live key with its one current row."""
    names = list(engine.world.manifests)
    if not engine.store.exists("silver", f"{ENTITY}_changes"):
        return
    loaded = held_by(engine.table)
    engine.heard = [name for name in names if name in loaded]
    engine.check(engine.table.read(), f"read after the kill, {engine.heard} being committed")
    if engine.store.exists("silver", ENTITY):
        for versions in versions_of(engine.table.versions(), TIME_LAW).values():
            assert [v.valid_to is None for v in versions] == [False] * (len(versions) - 1) + [True]
            assert versions[-1].is_current != versions[-1].is_deleted


def check_at_the_end(engine: Engine) -> None:
    engine.heard = []
    run(engine)
    engine.check(engine.table.versions(), "the versions in the end")
    engine.check_log()
    log = engine.table.log()
    assert log.count() == log.distinct().count(), "nothing was logged twice"
    assert engine.store.transaction("silver", ENTITY, "fold") is not None


@pytest.mark.parametrize(
    ("point", "occurrence"),
    [
        pytest.param(
            point, occurrence, id=f"{point}, {'first' if occurrence == 1 else 'later'}",
            marks=[] if (point, occurrence) in DEFAULT else [pytest.mark.slow],
        )
        for point in POINTS
        for occurrence in (1, 2)
    ],
)  # fmt: skip
def test_killed_at_a_point(
    shared_spark: SparkSession, lake_dir: Path, tmp_path: Path, point: str, occurrence: int
) -> None:
    mark = tmp_path / "mark"
    process = started(lake_dir, mark, point, str(occurrence))
    assert process.wait(LONGEST) == -signal.SIGKILL
    assert mark.read_text(encoding="utf-8") == point, "the point was never reached"
    engine = Engine(shared_spark, str(lake_dir), crash_world())
    check_after_a_kill(engine)
    check_at_the_end(engine)


@pytest.mark.parametrize("kills", [pytest.param(1, id="once"), pytest.param(30, id="30 times", marks=pytest.mark.slow)])
def test_killed_at_random(shared_spark: SparkSession, tmp_path: Path, kills: int) -> None:
    """The same lake is killed and run again until a run comes through; then a new lake is taken."""
    draw = random.Random(kills)
    lakes = 0
    lake = tmp_path / "lake-0"
    longest = 20.0  # [s] of work after the session is there; follows what is seen
    while kills:
        mark = tmp_path / f"mark-{kills}"
        process = started(lake, mark)
        while not mark.exists() and process.poll() is None:
            time.sleep(0.05)
        begun = time.monotonic()
        try:
            assert process.wait(draw.uniform(0, longest)) == 0
            longest = min(longest, time.monotonic() - begun)
            lakes += 1
            lake = tmp_path / f"lake-{lakes}"
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills -= 1
            engine = Engine(shared_spark, str(lake), crash_world())
            check_after_a_kill(engine)
            if not kills or draw.random() < 0.2:
                check_at_the_end(engine)
