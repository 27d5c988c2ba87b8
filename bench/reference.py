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
        self._glances: dict[tuple[tuple[Path, ...], tuple[int, ...]], tuple[int, int]] = {}

    def expected(self, files: Sequence[Path]) -> Expected:
        """What the history of these files is: every change holds until the next of its key."""
        if tuple(files) not in self._known:
            self._known[tuple(files)] = self._computed(files)
        return self._known[tuple(files)]

    def glance(self, files: Sequence[Path], keys: Sequence[int]) -> tuple[int, int]:
        """What the reads of a day must give: the number of versions of these keys, and of current rows."""
        known = tuple(files), tuple(keys)
        if known not in self._glances:
            wanted = ", ".join(map(str, keys))
            sql = f"""
                WITH keys AS (
                    SELECT k, arg_max(op, valid_from) AS last, count(*) FILTER (op <> 'delete') AS versions
                    FROM {_scan(files)} GROUP BY k)
                SELECT coalesce(sum(versions) FILTER (k IN ({wanted})), 0)::BIGINT, count(*) FILTER (last <> 'delete')
                FROM keys"""
            versions, current = self.connection.execute(sql).fetchall()[0]
            self._glances[known] = int(versions), int(current)
        return self._glances[known]

    def _computed(self, files: Sequence[Path]) -> Expected:
        sql = f"""
            WITH changes AS (SELECT k, op, valid_from, hash({_values()}) AS payload FROM {_scan(files)}),
            versions AS (SELECT *, lead(valid_from) OVER (PARTITION BY k ORDER BY valid_from) AS valid_to FROM changes)
            SELECT count(*), {_total("payload")}, count(*) FILTER (valid_to IS NULL)
            FROM versions WHERE op <> 'delete'"""
        return Expected(*self.connection.execute(sql).fetchall()[0])

    def found(self, rows: str) -> Expected:
        """What a competitor has; rows: a DuckDB relation."""
        total = _total(f"hash({_values()})")
        sql = f"SELECT count(*), {total}, count(*) FILTER (valid_to IS NULL) FROM ({rows})"
        return Expected(*self.connection.execute(sql).fetchall()[0])


def _scan(files: Sequence[Path]) -> str:
    paths = ", ".join(f"'{f}/*.parquet'" if f.is_dir() else f"'{f}'" for f in files)
    return f"read_parquet([{paths}])"


def _values() -> str:
    return ", ".join(["epoch_us(ts)", *PAYLOAD[1:]])


def _total(payload: str) -> str:
    return f"sum(hash(k, epoch_us(valid_from), coalesce(epoch_us(valid_to), -1), {payload}))::VARCHAR"
