"""The tables of layer `ops`: what every job records. Small appends and reads through delta-rs, without a Spark job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from varve.errors import StorageError

if TYPE_CHECKING:
    import pyarrow as pa

RUNS: Final = "runs"
REJECTS: Final = "rejects"
DRIFT: Final = "drift"
DECISIONS: Final = "decisions"

MOST_RETRIES: Final = 100  # of a commit beside those of other processes

# Column -> Spark DDL type. Every column is nullable: a ledger that refuses a row hides what happened.
COLUMNS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType({
    RUNS: {  # one row per (run, task, table, scope)
        "id": "string", "run_id": "string", "job": "string", "task": "string", "step": "string", "attempt": "bigint",
        "table_name": "string", "scope": "string", "status": "string",  # done, skipped, parked or failed
        "manifests": "array<string>", "fingerprint": "string",  # of the sorted manifests: same input, same fingerprint
        "version_before": "bigint", "version_after": "bigint",
        "rows_in": "bigint", "rows_out": "bigint", "rows_rejected": "bigint",
        "seconds": "double", "bytes": "bigint", "drift": "string", "guard": "string",  # drift and guard are JSON
        "reason": "string", "remedy": "string", "error": "string",
        "started_at": "timestamp", "ended_at": "timestamp",
    },
    REJECTS: {  # one row per record that a layer did not take
        "table_name": "string", "scope_country": "string", "scope_entity": "string",
        "stage": "string",  # landing, bronze or silver
        "batch": "string",  # of the commit that left them out; a batch that was never committed rejected nothing
        "manifest": "string", "file": "string", "position": "bigint",
        "rule": "string", "reason": "string", "record": "string", "run_id": "string", "rejected_at": "timestamp",
    },
    DRIFT: {  # one row per difference between what came and what the contract says
        "table_name": "string", "scope_country": "string", "scope_entity": "string",
        "batch": "string", "manifest": "string",
        "column_name": "string", "kind": "string",  # added, missing, widened, incompatible or case
        "found": "string", "expected": "string", "action": "string",  # rescued, added, widened or parked
        "run_id": "string", "recorded_at": "timestamp",
    },
    DECISIONS: {  # one row per verdict of a person on a parked manifest
        "id": "string", "table_name": "string", "scope": "string", "manifest": "string",
        "verdict": "string",  # accept or discard
        "reason": "string", "decided_by": "string", "decided_at": "timestamp", "run_id": "string",
    },
})  # fmt: skip


def ddl(table: str) -> str:
    """The columns of an ops table as Spark reads them: `createDataFrame(rows, ddl("rejects"))`."""
    return ", ".join(f"{name} {kind}" for name, kind in COLUMNS[table].items())


def path(root: Path, table: str) -> Path:
    """Where the table lies in the lake."""
    return root / "ops" / table


def append(root: Path, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add the rows in one commit; columns that an older table lacks are added. No rows, no commit."""
    if not rows:
        return
    import pyarrow as pa
    from deltalake import CommitProperties, write_deltalake
    from deltalake.exceptions import DeltaError

    batch = pa.Table.from_pylist([dict(row) for row in rows], schema=_arrow_schema(table))
    try:
        properties = CommitProperties(max_commit_retries=MOST_RETRIES)
        write_deltalake(str(path(root, table)), batch, mode="append", schema_mode="merge", commit_properties=properties)
    except (DeltaError, OSError) as error:
        raise StorageError(
            "the rows could not be written", where=f"ops.{table}", found=error, remedy="Is the disk full or read-only?"
        ) from error


def forget(root: Path, table: str, *, table_name: str, batch: str) -> None:
    """Remove what was recorded of a batch that was not committed."""
    from deltalake import CommitProperties, DeltaTable
    from deltalake.exceptions import DeltaError

    place = str(path(root, table))
    where = f"table_name = '{table_name}' and batch = '{batch}'"
    try:
        if DeltaTable.is_deltatable(place):
            properties = CommitProperties(max_commit_retries=MOST_RETRIES)
            DeltaTable(place).delete(where, commit_properties=properties)
    except (DeltaError, OSError) as error:
        where, remedy = f"ops.{table}", "Run again."
        raise StorageError("rows could not be removed", where=where, found=error, remedy=remedy) from error


def rows(root: Path, table: str, *, columns: Iterable[str], where: str = "true") -> list[dict[str, Any]]:
    """The rows that satisfy the SQL predicate; none if the table does not exist yet."""
    from deltalake import DeltaTable, QueryBuilder
    from deltalake.exceptions import DeltaError

    place = str(path(root, table))
    try:
        if not DeltaTable.is_deltatable(place):
            return []
        # The engine of delta-rs and not `to_pyarrow_table`: only the engine reads deletion vectors.
        query = f"SELECT {', '.join(columns)} FROM ops WHERE {where}"
        found: Any = QueryBuilder().register("ops", DeltaTable(place)).execute(query).read_all()
    except (DeltaError, OSError) as error:
        raise StorageError("the table could not be read", where=f"ops.{table}", found=error) from error
    names = found.schema.names
    values = ([value.as_py() for value in found.column(name)] for name in names)
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def _arrow_schema(table: str) -> pa.Schema:
    import pyarrow as pa

    kinds = {
        "string": pa.string(), "bigint": pa.int64(), "double": pa.float64(),
        "timestamp": pa.timestamp("us", tz="UTC"), "array<string>": pa.list_(pa.string()),
    }  # fmt: skip
    return pa.schema([(name, kinds[kind]) for name, kind in COLUMNS[table].items()])
