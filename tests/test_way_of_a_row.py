"""The way of a row in docs/architecture.md, walked: rates go from two files to gold, and every function named runs."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from types import FrameType

import pytest
from pyspark.sql import SparkSession

from in_process import PROJECT, Jobs
from test_house import ARCHITECTURE, STEP

CURRENCIES = ("USD", "JPY", "CZK", "DKK", "GBP", "HUF", "PLN", "SEK", "CHF", "NOK")
DAYS = 110  # the guard of the entity wants 1,000 rates


@contextmanager
def functions_called() -> Iterator[set[tuple[str, str]]]:
    """(file, qualified name) of the functions of the project that run in the block, those of new threads among them."""
    called: set[tuple[str, str]] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            called.add((frame.f_code.co_filename, frame.f_code.co_qualname))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield called
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def deliver(root: Path, days: int) -> None:
    """A file of the ECB: rates of so many days, the last one first."""
    last = date(2026, 1, 1) + timedelta(days=days)
    lines = [",".join(("Date", *CURRENCIES))]
    lines += [",".join((str(last - timedelta(days=day)), *("1.25" for _ in CURRENCIES))) for day in range(days)]
    file = root / "vintages" / f"eurofxref-hist_{last}.zip"
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.slow
def test_every_function_on_the_way_of_a_row_runs(shared_spark: SparkSession, tmp_path: Path) -> None:
    jobs, root = Jobs.at(tmp_path / "lake", shared_spark, "way"), tmp_path / "ecb"
    root.mkdir()
    with functions_called() as called:
        for days in (DAYS, DAYS + 1):
            deliver(root, days)
            jobs.run("extract", "--source", "ecb", "--root", str(root))
            jobs.run("bronze", "--source", "ecb")
            jobs.run("silver", "--table", "fx")
            jobs.run("gold", "--table", "fx_rate")
    jobs.lake.ledger.close()
    ran = {(str(Path(file).relative_to(PROJECT)), name) for file, name in called if Path(file).is_relative_to(PROJECT)}
    for step in STEP.finditer(ARCHITECTURE):
        file, names = step["file"], re.findall("`([^`]+)`", step["names"])
        assert file in {place for place, _ in ran}, file
        # Of a class, some method.
        absent = [name for name in names if not any(f == file and f"{n}.".startswith(f"{name}.") for f, n in ran)]
        assert absent == [], file
