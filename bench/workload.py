"""The same seeded files for every competitor: a load, days of changes, a late day, a snapshot. Made once by DuckDB.

Columns of a change: k, the payload (19 columns), op [upsert, delete], valid_from. A delete has no payload.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import duckdb
import duckdb_extensions

START = 1_767_225_600  # [s] valid_from of the load: 2026-01-01 UTC
DAY = 86_400
COUNTS = (10, 100, 1_000, 10_000, 100_000, 1_000_000, 50_000_000, 1_000_000_000)
PAYLOAD = (
    "ts",
    *(f"a{i}" for i in range(len(COUNTS))),
    *(f"d{i}" for i in range(3)),
    *(f"m{i}" for i in range(2)),
    *(f"s{i}" for i in range(5)),
)
FILES = 4  # of the load
SNAPSHOT_FILES = 7
PARQUET = "(FORMAT parquet, COMPRESSION zstd)"


def connect() -> duckdb.DuckDBPyConnection:
    """DuckDB that reads Delta tables, with memory that is free beside a Spark driver; the rest goes to disk."""
    spilled = Path(tempfile.gettempdir()) / "varve-bench-duckdb"  # by default it would be where the user stands
    connection = duckdb.connect(config={"memory_limit": "6GB", "temp_directory": str(spilled)})
    connection.execute("SET enable_progress_bar = false")
    duckdb_extensions.import_extension("delta", con=connection)
    connection.execute("LOAD delta")
    return connection


def payload_sql(salt: int) -> str:
    """The payload of key k, another for every salt; `valid_from` is in scope."""

    def bits(column: int) -> str:
        return f"hash(k, {salt}, {column})"

    parts = ["valid_from AS ts"]
    parts += [f"({bits(i)} % {count})::BIGINT AS a{i}" for i, count in enumerate(COUNTS)]
    parts += [f"({bits(10 + i)} % 10000000)::DOUBLE / 7 AS d{i}" for i in range(3)]
    parts += [f"(({bits(20 + i)} % 100000000)::DECIMAL(12,2) / 100)::DECIMAL(12,2) AS m{i}" for i in range(2)]
    parts += [f"'state-' || ({bits(30)} % 8) AS s0", f"'city-' || ({bits(31)} % 900) AS s1"]
    parts += [f"'agent-' || ({bits(32)} % 5000) AS s2", f"hex({bits(33)} % 4294967296) AS s3"]
    parts += [f"'note ' || ({bits(34)} % 40000) AS s4"]
    return ", ".join(parts)


@dataclass(frozen=True)
class Workload:
    """The files of one run. rows: open rows of the load; changes: per day; keys: `localised`: the newest ones."""

    root: Path
    rows: int
    keys: Literal["random", "localised"] = "random"
    days: int = 5
    changes: int = 0  # 0: one hundredth of the rows
    updates_only: bool = False
    step: int = DAY  # [s] between two days

    @property
    def a_day(self) -> int:
        """Changes of one day: 70 % updates, 25 % inserts, 5 % deletes."""
        return self.changes or max(100, self.rows // 100)

    @property
    def folder(self) -> Path:
        """Of the days; the load is shared by all workloads of its size."""
        return self.root / f"{self.keys}-{self.rows}-{self.a_day}{'-updates' if self.updates_only else ''}"

    @property
    def base(self) -> Path:
        return self.root / f"load-{self.rows}"

    @property
    def load(self) -> Path:
        """A folder of Parquet files in the order of the keys."""
        return self.base / "load"

    @property
    def index(self) -> Path:
        """k and a 64-bit hash of every loaded row: what the floor program reads."""
        return self.base / "index.parquet"

    @property
    def snapshot(self) -> Path:
        """The loaded rows again: other files, another order."""
        return self.base / "snapshot"

    def day(self, number: int) -> Path:
        """Changes of a day, from 1. Day `days + 1` is the one that `late` is compared with."""
        return self.folder / f"day-{number}.parquet"

    @property
    def late(self) -> Path:
        """The day after the last, a tenth of its rows replaced by late ones of keys that changed before."""
        return self.folder / "late.parquet"

    @property
    def empty(self) -> Path:
        return self.folder / "empty.parquet"

    def sample(self, number: int) -> list[int]:
        """100 keys that changed on a day."""
        sql = f"SELECT k FROM '{self.day(number)}' ORDER BY hash(k, 7) LIMIT 100"
        return [row[0] for row in duckdb.sql(sql).fetchall()]

    def make(self, *, whole: bool = False) -> Workload:
        """Write the files that are not there; whole: the snapshot and the late day too."""
        connection = connect()
        _once(self.base / "load.json", {"rows": self.rows}, lambda: self._make_load(connection))
        told = {k: v for k, v in asdict(self).items() if k != "root"}
        _once(self.folder / "days.json", told, lambda: self._make_days(connection))
        if whole:
            _once(self.base / "snapshot.json", {"rows": self.rows}, lambda: self._make_snapshot(connection))
            _once(self.folder / "late.json", told, lambda: self._make_late(connection))
        connection.close()
        return self

    # --- writing ----------------------------------------------------------------------------------------------

    def _make_load(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.load.mkdir(parents=True)
        for part in range(FILES):
            first, last = self.rows * part // FILES, self.rows * (part + 1) // FILES
            keys = f"SELECT range AS k, to_timestamp({START}) AS valid_from FROM range({first}, {last})"
            connection.execute(
                f"COPY (SELECT k, {payload_sql(0)}, 'upsert' AS op, valid_from FROM ({keys})) "
                f"TO '{self.load}/part-{part}.parquet' {PARQUET}"
            )
        hashes = f"SELECT k, (hash({', '.join(PAYLOAD)}) >> 1)::BIGINT AS row_hash FROM '{self.load}/*.parquet'"
        connection.execute(f"COPY ({hashes}) TO '{self.index}' {PARQUET}")

    def _make_snapshot(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.snapshot.mkdir(parents=True)
        for part in range(SNAPSHOT_FILES):
            rows = f"SELECT * FROM '{self.load}/*.parquet' WHERE k % {SNAPSHOT_FILES} = {part} ORDER BY hash(k, 3)"
            connection.execute(f"COPY ({rows}) TO '{self.snapshot}/part-{part}.parquet' {PARQUET}")

    def _make_days(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.folder.mkdir(parents=True)
        connection.execute(f"CREATE TABLE live AS SELECT range AS k FROM range({self.rows})")
        newest = self.rows
        for number in range(1, self.days + 2):
            newest = self._make_day(connection, number, newest)
        nothing = f"SELECT * FROM '{self.day(1)}' WHERE false"
        connection.execute(f"COPY ({nothing}) TO '{self.empty}' {PARQUET}")

    def _make_day(self, connection: duckdb.DuckDBPyConnection, number: int, newest: int) -> int:
        """Write one day; returns the next new key. `live` holds the keys that are not deleted."""
        share = (1.0, 0.0, 0.0) if self.updates_only else (0.70, 0.25, 0.05)
        updates, inserts, deletes = (round(self.a_day * part) for part in share)
        near = f"WHERE k >= {newest - 2 * self.a_day}" if self.keys == "localised" else ""
        clock = f"to_timestamp({START + number * self.step} + (hash(k, {number}) % 3600)::BIGINT)"
        connection.execute(
            f"CREATE OR REPLACE TABLE today AS SELECT k, {clock} AS valid_from, "
            f"row_number() OVER (ORDER BY hash(k, {number}, 11)) > {updates} AS is_gone "
            f"FROM (SELECT k FROM live {near} ORDER BY hash(k, {number}, 11) LIMIT {updates + deletes})"
        )
        connection.execute(
            f"INSERT INTO today SELECT range AS k, {clock}, false FROM range({newest}, {newest + inserts})"
        )
        payload = f"SELECT k, {payload_sql(number)}, valid_from, is_gone FROM today"
        columns = ", ".join(f"CASE WHEN NOT is_gone THEN {c} END AS {c}" for c in PAYLOAD)
        op = "CASE WHEN is_gone THEN 'delete' ELSE 'upsert' END AS op"
        connection.execute(
            f"COPY (SELECT k, {columns}, {op}, valid_from FROM ({payload}) ORDER BY hash(k, 5)) "
            f"TO '{self.day(number)}' {PARQUET}"
        )
        connection.execute("DELETE FROM live WHERE k IN (SELECT k FROM today WHERE is_gone)")
        connection.execute(f"INSERT INTO live SELECT range FROM range({newest}, {newest + inserts})")
        return newest + inserts

    def _make_late(self, connection: duckdb.DuckDBPyConnection) -> None:
        count = self.a_day // 10
        plain = f"SELECT * FROM '{self.day(self.days + 1)}' ORDER BY hash(k, 13) LIMIT {self.a_day - count}"
        earlier = ", ".join(f"'{self.day(n)}'" for n in range(2, self.days + 1))
        keys = (
            f"SELECT k, min(valid_from) - INTERVAL {DAY // 2} SECOND AS valid_from FROM read_parquet([{earlier}]) "
            f"WHERE op = 'upsert' AND k < {self.rows} GROUP BY k ORDER BY hash(k, 17) LIMIT {count}"
        ).replace("min(valid_from) - INTERVAL", "min(valid_from)::TIMESTAMP - INTERVAL")
        stamped = f"SELECT k, to_timestamp(epoch(valid_from)) AS valid_from FROM ({keys})"
        late = f"SELECT k, {payload_sql(99)}, 'upsert' AS op, valid_from FROM ({stamped})"
        connection.execute(f"COPY (SELECT * FROM ({plain}) UNION ALL {late}) TO '{self.late}' {PARQUET}")


def _once(marker: Path, told: dict[str, object], make: Callable[[], None]) -> None:
    """Run `make` unless the marker says that the same was made; half-made files are removed first."""
    text = json.dumps(told, sort_keys=True, default=str)
    if marker.exists() and marker.read_text() == text:
        return
    marker.unlink(missing_ok=True)
    for old in (marker.with_suffix(""), *([marker.parent] if marker.stem == "days" else [])):
        shutil.rmtree(old, ignore_errors=True)
    make()
    marker.write_text(text)
