"""The tables of layer `ops`: what every job records. Small appends and reads through delta-rs, without a Spark job."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from varve.model.errors import StorageError

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

Done = TypeVar("Done")

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


def ddl(table: str) -> str:
    """The columns of an ops table as Spark reads them: `createDataFrame(rows, ddl("rejects"))`."""
    return ", ".join(f"{name} {kind}" for name, kind in COLUMNS[table].items())


def path(root: Path, table: str) -> Path:
    """Where the table lies in the lake."""
    return root / "ops" / table


def append(
    root: Path, table: str, rows: Sequence[Mapping[str, Any]], *, check: Callable[[], None] | None = None
) -> None:
    """Add the rows in one commit; columns that an older table lacks are added. No rows, no commit.

    check: refuses by an error. It is asked when the version is known that the rows come right after: whoever commits
    later is not passed over."""

    def add(log: DeltaTable | None) -> None:
        if check is not None:
            check()
        _write(root, table, log, rows, is_next=check is not None)

    if rows:
        _commit(root, table, add)


def add_missing(root: Path, table: str, rows: Mapping[str, Mapping[str, Any]]) -> int:
    """Add the rows whose id the table does not have, and return how many they were. rows: by their ids."""

    def add(log: DeltaTable | None) -> int:
        known = {row["id"] for row in _select(log, ["id"], _has_id(rows))} if log else set()
        missing = [row for identity, row in rows.items() if identity not in known]
        if missing:
            _write(root, table, log, missing, is_next=True)
        return len(missing)

    return _commit(root, table, add) if rows else 0


def put(root: Path, table: str, rows: Sequence[Mapping[str, Any]], *, instead_of: Collection[str]) -> None:
    """Put the rows in place of all that have one of these ids, in one commit."""
    if rows or instead_of:
        _commit(root, table, lambda log: _write(root, table, log, rows, is_next=True, instead_of=instead_of))


def remove_batch(root: Path, table: str, *, table_name: str, batch: str) -> None:
    """Remove what was recorded of a batch that was not committed."""
    where = f"table_name = '{table_name}' and batch = '{batch}'"
    _commit(root, table, lambda log: log and log.delete(where))


def rows(root: Path, table: str, *, columns: Iterable[str], where: str = "true") -> list[dict[str, Any]]:
    """The rows that satisfy the SQL predicate; none if the table does not exist yet."""
    from deltalake.exceptions import DeltaError

    try:
        log = _log(root, table)
        return _select(log, columns, where) if log else []
    except (DeltaError, OSError) as error:
        raise StorageError("the table could not be read", where=f"ops.{table}", found=error) from error


def _select(log: DeltaTable, columns: Iterable[str], where: str) -> list[dict[str, Any]]:
    from deltalake import QueryBuilder

    # The engine of delta-rs and not `to_pyarrow_table`: only the engine reads deletion vectors.
    query = f"SELECT {', '.join(columns)} FROM ops WHERE {where}"
    found: Any = QueryBuilder().register("ops", log).execute(query).read_all()
    names = found.schema.names
    values = ([value.as_py() for value in found.column(name)] for name in names)
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def _has_id(ids: Iterable[str]) -> str:
    return f"id IN ({', '.join(repr(identity) for identity in ids)})"


def _log(root: Path, table: str) -> DeltaTable | None:
    from deltalake import DeltaTable

    place = str(path(root, table))
    return DeltaTable(place) if DeltaTable.is_deltatable(place) else None


def _commit(root: Path, table: str, act: Callable[[DeltaTable | None], Done]) -> Done:
    """What the act does to the table as it is, None where it is absent; once more whenever another commit was first."""
    from deltalake.exceptions import DeltaError

    while True:
        log = None
        try:
            log = _log(root, table)
            return act(log)
        except (DeltaError, OSError) as error:
            if not _has_gone_on(root, table, log):
                raise StorageError(
                    "the rows could not be written", where=f"ops.{table}", found=error,
                    remedy="Is the disk full or read-only?",
                ) from error  # fmt: skip


def _has_gone_on(root: Path, table: str, log: DeltaTable | None) -> bool:
    """Whether the table has a commit after the version of `log`."""
    from deltalake.exceptions import DeltaError

    with suppress(DeltaError, OSError):
        now = _log(root, table)
        return now is not None and (log is None or now.version() > log.version())
    return False


def _write(
    root: Path, table: str, log: DeltaTable | None, rows: Sequence[Mapping[str, Any]], *, is_next: bool,
    instead_of: Collection[str] = (),
) -> None:  # fmt: skip
    """One commit. is_next: right after the version of `log`, the first where there is none; else refused."""
    import pyarrow as pa
    from deltalake import CommitProperties, write_deltalake

    from varve.storage.commits import MOST_RETRIES

    properties = CommitProperties(max_commit_retries=0 if is_next else MOST_RETRIES)
    mode: Any = {"mode": "error" if is_next and log is None else "append"}
    if log is not None and instead_of:
        mode = {"mode": "overwrite", "predicate": _has_id(instead_of)}
    write_deltalake(
        log or str(path(root, table)), pa.Table.from_pylist([dict(row) for row in rows], schema=_arrow_schema(table)),
        schema_mode="merge", commit_properties=properties, **mode,
    )  # fmt: skip


def _arrow_schema(table: str) -> pa.Schema:
    import pyarrow as pa

    kinds = {
        "string": pa.string(), "bigint": pa.int64(), "double": pa.float64(),
        "timestamp": pa.timestamp("us", tz="UTC"), "array<string>": pa.list_(pa.string()),
    }  # fmt: skip
    return pa.schema([(name, kinds[kind]) for name, kind in COLUMNS[table].items()])
