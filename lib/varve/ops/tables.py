"""The tables of layer `ops`, their columns, and what every job does with them. No Spark job."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from varve.storage.small_tables import SmallTable

RUNS: Final = "runs"
REJECTS: Final = "rejects"
DRIFT: Final = "drift"
DECISIONS: Final = "decisions"

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


def path(root: Path, table: str) -> Path:
    """Where the table lies. root: the lake's folder."""
    return root / "ops" / table


def append(
    root: Path, table: str, rows: Sequence[Mapping[str, Any]], *, check: Callable[[], None] | None = None
) -> None:
    """Add the rows (column -> value) in one commit; no rows, no commit. StorageError when it fails.

    check: raises to refuse; called right before the commit, and again before every repetition of it."""
    _table(root, table).append(rows, check=check)


def add_missing(root: Path, table: str, rows: Mapping[str, Mapping[str, Any]]) -> int:
    """Add the rows whose id the table does not have, and return how many they were. rows: by their ids."""
    return _table(root, table).add_missing(rows)


def put(root: Path, table: str, rows: Sequence[Mapping[str, Any]], *, instead_of: Collection[str]) -> None:
    """Put the rows in place of all that have one of these ids, in one commit."""
    _table(root, table).replace_ids(rows, ids=instead_of)


def remove_batch(root: Path, table: str, *, table_name: str, batch: str) -> None:
    """Remove the rejects or drift of a batch that was not committed. table_name: `bronze.x`; batch: `<n>.<attempt>`."""
    _table(root, table).delete(f"table_name = '{table_name}' and batch = '{batch}'")


def rows(root: Path, table: str, *, columns: Iterable[str], where: str = "true") -> list[dict[str, Any]]:
    """The rows that satisfy the SQL predicate, as column -> value; none if the table does not exist yet.

    Raises StorageError when it cannot be read."""
    return _table(root, table).rows(columns, where)


def _table(root: Path, table: str) -> SmallTable:
    return SmallTable(path(root, table), f"ops.{table}", COLUMNS[table])
