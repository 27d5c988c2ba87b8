"""The history that every competitor must have: plain SQL over the files of the workload, in DuckDB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.workload import PAYLOAD, connect


@dataclass(frozen=True)
class Expected:
    """The history of some files by plain SQL: what every competitor must have."""

    versions: int
    checksum: str
    current: int


class Reference:
    """Checks histories. `rows` of a history: k, payload, valid_from, valid_to, without tombstones."""

    def __init__(self) -> None:
        self.connection = connect()
        self._known: dict[tuple[Path, ...], Expected] = {}

    def expected(self, files: Sequence[Path]) -> Expected:
        """What the history of these files is: every change holds until the next of its key."""
        if tuple(files) not in self._known:
            self._known[tuple(files)] = self._computed(files)
        return self._known[tuple(files)]

    def _computed(self, files: Sequence[Path]) -> Expected:
        paths = ", ".join(f"'{f}/*.parquet'" if f.is_dir() else f"'{f}'" for f in files)
        sql = f"""
            WITH changes AS (SELECT k, op, valid_from, hash({_values()}) AS payload FROM read_parquet([{paths}])),
            versions AS (SELECT *, lead(valid_from) OVER (PARTITION BY k ORDER BY valid_from) AS valid_to FROM changes)
            SELECT count(*), {_total("payload")}, count(*) FILTER (valid_to IS NULL)
            FROM versions WHERE op <> 'delete'"""
        return Expected(*self.connection.execute(sql).fetchall()[0])

    def found(self, rows: str) -> Expected:
        """What a competitor has; rows: a DuckDB relation."""
        total = _total(f"hash({_values()})")
        sql = f"SELECT count(*), {total}, count(*) FILTER (valid_to IS NULL) FROM ({rows})"
        return Expected(*self.connection.execute(sql).fetchall()[0])


def _values() -> str:
    return ", ".join(["epoch_us(ts)", *PAYLOAD[1:]])


def _total(payload: str) -> str:
    return f"sum(hash(k, epoch_us(valid_from), coalesce(epoch_us(valid_to), -1), {payload}))::VARCHAR"
