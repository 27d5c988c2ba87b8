"""How the versions lie in their files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import deltalake
import pyarrow.parquet

from conftest import PYTHONPATH

from .spilled import ENTITY, ROWS

TESTS = Path(__file__).resolve().parents[1]


def test_a_load_that_does_not_fit_in_memory_lies_in_the_order_of_its_keys(tmp_path: Path) -> None:
    """Else a look-up of one key reads every page of the table."""
    events = tmp_path / "events"
    events.mkdir()
    subprocess.run(
        [sys.executable, "-m", "history.spilled", str(tmp_path / "lake"), str(events)],
        cwd=TESTS, env={**os.environ, "PYTHONPATH": PYTHONPATH}, check=True,
    )  # fmt: skip
    assert spilled_bytes(events) > 0, "no sort went by way of the disk: the test says nothing"
    files = deltalake.DeltaTable(tmp_path / "lake" / "silver" / ENTITY).file_uris()
    keys = [pyarrow.parquet.read_table(file, columns=["id"])["id"].to_pylist() for file in files]
    assert sum(map(len, keys)) == 2 * ROWS
    for file, found in zip(files, keys, strict=True):
        assert found == sorted(found), file


def spilled_bytes(events: Path) -> int:
    """Bytes that tasks put on disk for want of memory, as Spark's own event log tells."""
    lines = [line for file in events.rglob("events_*") for line in file.read_text("utf-8").splitlines()]
    tasks = [event for line in lines if (event := json.loads(line))["Event"] == "SparkListenerTaskEnd"]
    return sum(task["Task Metrics"]["Disk Bytes Spilled"] for task in tasks)
