"""A fake of the frames that Spark writes, and a process that appends it: `python -m fake_frame <lake> <name> <how>`.

pyarrow writes the file that Spark would write; what commits it is real.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import types as T
from pyspark.sql.types import StructField, StructType

from varve.ops import tables
from varve.storage.delta import Store

BATCHES: Final = 100


def schema() -> StructType:
    """The columns of ops.rejects; a DDL text would need the JVM."""
    kinds = {"string": T.StringType(), "bigint": T.LongType(), "timestamp": T.TimestampType()}
    return StructType([StructField(name, kinds[kind]) for name, kind in tables.COLUMNS[tables.REJECTS].items()])


@dataclass(frozen=True)
class FakeFrame:
    """One row of ops.rejects; `write` is the frame itself."""

    batch: str

    @property
    def schema(self) -> StructType:
        return schema()

    @property
    def write(self) -> FakeFrame:
        return self

    def mode(self, _: str) -> FakeFrame:
        return self

    def parquet(self, folder: str) -> None:
        Path(folder).mkdir(parents=True)
        row = {"table_name": "bronze.t", "batch": self.batch}
        kinds = {"string": pa.string(), "bigint": pa.int64(), "timestamp": pa.timestamp("us", tz="UTC")}
        arrow = pa.schema([(name, kinds[kind]) for name, kind in tables.COLUMNS[tables.REJECTS].items()])
        pq.write_table(pa.Table.from_pylist([row], schema=arrow), Path(folder) / "part-00000.parquet")


def no_session() -> Any:
    raise AssertionError("nothing needs a session")


def main(lake: str, name: str, how: str) -> None:
    store = Store(no_session, lake)
    for number in range(BATCHES if how != "forgets" else BATCHES // 10):
        batch = f"{name}.{number}"
        if how == "rows":
            tables.append(Path(lake), tables.REJECTS, [{"table_name": "bronze.t", "batch": batch}])
        elif how == "forgets":
            tables.append(Path(lake), tables.REJECTS, [{"table_name": "bronze.t", "batch": "forgotten"}])
            tables.remove_batch(Path(lake), tables.REJECTS, table_name="bronze.t", batch="forgotten")
        else:
            store.append_shared(FakeFrame(batch), "ops", tables.REJECTS, note={"kind": "rejects"})  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:])
