"""What every benchmark is told on its command line."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Arguments:
    """rows: of the (largest) table; only: parts to run, empty = all; work: folder of files; days: of stability."""

    name: str
    rows: int
    only: tuple[str, ...]
    days: int
    work: Path
    memory: str
    keep: bool

    def wants(self, part: str) -> bool:
        return not self.only or part in self.only


DEFAULT_ROWS = {
    "history": 10_000_000, "scale": 10_000_000, "stability": 3_000_000, "small_tables": 10_000,
    "fold_threshold": 5_000_000,
}  # fmt: skip


def parse(argv: Sequence[str]) -> Arguments:
    """Arguments of `python -m bench`."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Benchmarks of the history engine.")
    parser.add_argument("name", choices=sorted(DEFAULT_ROWS))
    parser.add_argument("--rows", type=int, help="rows of the largest table")
    parser.add_argument("--only", default="", help="parts, comma-separated; the others keep their last figures")
    parser.add_argument("--days", type=int, default=60, help="of the stability run")
    parser.add_argument("--work", type=Path, help="where the files go; inputs that are there are used again")
    parser.add_argument("--memory", default="auto", help="of the Spark driver, such as 8g")
    parser.add_argument("--keep", action="store_true", help="leave the tables in the work folder")
    found = parser.parse_args(argv)
    return Arguments(
        name=found.name, rows=found.rows or DEFAULT_ROWS[found.name],
        only=tuple(filter(None, found.only.split(","))), days=found.days,
        work=found.work or Path(tempfile.gettempdir()) / "varve-bench", memory=found.memory, keep=found.keep,
    )  # fmt: skip
