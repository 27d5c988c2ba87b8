"""Competitors: each keeps the same history in its own way, behind the same few calls."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol

from bench.workload import PAYLOAD

COLUMNS = ("k", *PAYLOAD, "valid_from", "valid_to")


class Peer(Protocol):
    """One way to keep history. folder: where it keeps it, all of it."""

    name: str
    folder: Path

    def load(self, files: Path) -> None:
        """Take the first rows, a folder of Parquet."""

    def day(self, changes: Path) -> None:
        """Take the changes of a day, visible when this returns."""

    def read_keys(self, keys: list[int]) -> int:
        """Fetch every version of these keys, full width; returns how many there are."""

    def count_current(self) -> int:
        """Count the rows that are current."""

    def history(self) -> str:
        """A DuckDB relation of all versions without tombstones: COLUMNS."""


def clone(source: Path, target: Path) -> Path:
    """A copy of a Delta table or a lake in no time: data files are never changed in place, so they are linked."""

    def copy(old: str, new: str) -> None:
        if "_delta_log" in Path(old).parts:
            shutil.copy2(old, new)
        else:
            os.link(old, new)

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=copy)
    return target
