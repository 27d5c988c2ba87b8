"""DuckDB's own table: no open table format, listed apart; near what one machine can do."""

from __future__ import annotations

from pathlib import Path

import duckdb

from bench.peers import COLUMNS
from bench.workload import PAYLOAD


class DuckTable:
    """UPDATE what ends, INSERT what begins, one transaction."""

    name = "duckdb"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.connection = duckdb.connect(str(folder / "history.duckdb"), config={"memory_limit": "9GB"})

    def load(self, files: Path) -> None:
        columns = ", ".join(("k", *PAYLOAD, "valid_from"))
        self.connection.execute(
            f"CREATE TABLE versions AS SELECT {columns}, NULL::TIMESTAMPTZ AS valid_to, true AS is_current "
            f"FROM '{files}/*.parquet'"
        )
        self.connection.execute("CHECKPOINT")

    def day(self, changes: Path) -> None:
        columns = ", ".join(("k", *PAYLOAD, "valid_from"))
        self.connection.execute("BEGIN")
        self.connection.execute(
            f"UPDATE versions SET valid_to = new.valid_from, is_current = false FROM '{changes}' AS new "
            "WHERE versions.k = new.k AND versions.is_current"
        )
        self.connection.execute(
            f"INSERT INTO versions SELECT {columns}, NULL, true FROM '{changes}' WHERE op = 'upsert'"
        )
        self.connection.execute("COMMIT")

    def read_keys(self, keys: list[int]) -> int:
        sql = f"SELECT * FROM versions WHERE k IN ({', '.join(map(str, keys))})"
        return int(self.connection.execute(sql).to_arrow_table().num_rows)

    def count_current(self) -> int:
        found = self.connection.execute("SELECT count(*) FROM versions WHERE is_current").fetchone()
        assert found is not None
        return int(found[0])

    def history(self) -> str:
        """Written out, because the file belongs to this connection."""
        copy = self.folder / "history.parquet"
        self.connection.execute(f"COPY (SELECT {', '.join(COLUMNS)} FROM versions) TO '{copy}' (FORMAT parquet)")
        return f"SELECT * FROM '{copy}'"

    def close(self) -> None:
        """Give the file back."""
        self.connection.close()
