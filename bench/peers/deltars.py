"""delta-rs: the same MERGE without Spark, its source staged in memory."""

from __future__ import annotations

from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet

from bench.peers import COLUMNS
from bench.workload import PAYLOAD

READ = "SELECT {} FROM versions WHERE {}"


class DeltaRs:
    """deltalake's `merge` with its defaults, current rows named in the predicate."""

    name = "delta-rs"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, files: Path) -> None:
        for file in sorted(files.iterdir()):
            rows = pyarrow.parquet.read_table(file).drop_columns("op")
            rows = rows.append_column("valid_to", pa.nulls(len(rows), pa.timestamp("us", "UTC")))
            rows = rows.append_column("is_current", pa.array([True]).take(pa.array([0] * len(rows))))
            deltalake.write_deltalake(str(self.folder), rows, mode="append")

    def day(self, changes: Path) -> None:
        rows = pyarrow.parquet.read_table(changes)
        upserts = rows.filter(pyarrow.dataset.field("op") == "upsert")
        source = pa.concat_tables(
            [
                rows.append_column("merge_key", rows["k"]),
                upserts.append_column("merge_key", pa.nulls(len(upserts), pa.int64())),
            ]
        )
        values = {c: f"new.{c}" for c in ("k", *PAYLOAD, "valid_from")}
        (
            deltalake.DeltaTable(str(self.folder))
            .merge(
                source, "old.k = new.merge_key AND old.is_current = true", source_alias="new", target_alias="old",
            )
            .when_matched_update({"valid_to": "new.valid_from", "is_current": "false"})
            .when_not_matched_insert({**values, "valid_to": "NULL", "is_current": "true"}, "new.merge_key IS NULL")
            .execute()
        )  # fmt: skip

    def _query(self, columns: str, where: str) -> pa.Table:
        table = deltalake.DeltaTable(str(self.folder))
        return pa.table(deltalake.QueryBuilder().register("versions", table).execute(READ.format(columns, where)))

    def read_keys(self, keys: list[int]) -> int:
        return len(self._query("*", f"k IN ({', '.join(map(str, keys))})"))

    def count_current(self) -> int:
        return int(self._query("count(*) AS rows", "is_current")["rows"][0].as_py())

    def history(self) -> str:
        return f"SELECT {', '.join(COLUMNS)} FROM delta_scan('{self.folder}')"
