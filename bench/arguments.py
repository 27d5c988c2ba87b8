"""What every benchmark is told on its command line."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True)
class Arguments:
    """rows: of the (largest) table; only: parts to run, empty = all; days: of the stability run; work: folder of inputs
    and tables; results: folder of the figures; keep: leave the tables."""

    name: str
    rows: int
    only: tuple[str, ...]
    days: int
    memory: str
    work: Path
    results: Path
    keep: bool

    def wants(self, part: str) -> bool:
        return not self.only or part in self.only


DEFAULT_ROWS = {
    "history": 10_000_000, "scale": 30_000_000, "stability": 3_000_000, "small_tables": 10_000,
    "fold_threshold": 5_000_000, "first_day": 0,
}  # fmt: skip
DEFAULT_DAYS = 60


def parse(argv: Sequence[str]) -> Arguments:
    """Arguments of `python -m bench`."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Benchmarks of Varve.")
    parser.add_argument("name", choices=sorted(DEFAULT_ROWS))
    parser.add_argument("--rows", type=int, help="rows of the largest table")
    parser.add_argument("--only", default="", help="parts, comma-separated; the others keep their last figures")
    parser.add_argument("--days", type=int, default=DEFAULT_DAYS, help="of the stability run")
    parser.add_argument("--memory", default="auto", help="of the Spark driver, such as 8g")
    parser.add_argument("--work", type=Path, help="where the files go; inputs that are there are used again")
    parser.add_argument("--results", type=Path, help="where the figures go; a run of another size: the work folder")
    parser.add_argument("--keep", action="store_true", help="leave the tables in the work folder")
    found = parser.parse_args(argv)
    rows = found.rows or DEFAULT_ROWS[found.name]
    work = found.work or Path(tempfile.gettempdir()) / "varve-bench"
    is_whole = rows == DEFAULT_ROWS[found.name] and found.days == DEFAULT_DAYS
    return Arguments(
        name=found.name, rows=rows, only=tuple(filter(None, found.only.split(","))), days=found.days,
        memory=found.memory, work=work, results=found.results or (RESULTS if is_whole else work / "results"),
        keep=found.keep,
    )  # fmt: skip
