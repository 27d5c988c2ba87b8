"""Delta tables of few rows that many processes add to: appended and read through delta-rs, without a Spark job."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from varve.model.errors import StorageError

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

MOST_RETRIES: Final = 100  # of a commit that other processes' commits may come before

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class SmallTable:
    """One table, created by its first row. Every act raises StorageError when the table cannot be read or written.

    path: its folder; name: as errors name it; columns: name -> type (string, bigint, double, timestamp or
    array<string>), all nullable. A row is a mapping of these columns; what it lacks is null.
    """

    path: Path
    name: str
    columns: Mapping[str, str]

    def append(self, rows: Sequence[Mapping[str, Any]], *, check: Callable[[], None] | None = None) -> None:
        """Add the rows in one commit; columns that an older table lacks are added. No rows, no commit.

        check: refuses by an error. It is asked when the version is known that the rows come right after: whoever
        commits later is not passed over."""

        def add(log: DeltaTable | None) -> None:
            if check is not None:
                check()
            self._write(log, rows, is_next=check is not None)

        if rows:
            self._commit(add)

    def add_missing(self, rows: Mapping[str, Mapping[str, Any]]) -> int:
        """Add the rows whose id the table does not have, and return how many they were. rows: by their column `id`."""

        def add(log: DeltaTable | None) -> int:
            known = {row["id"] for row in _select(log, ["id"], _has_id(rows))} if log else set()
            missing = [row for identity, row in rows.items() if identity not in known]
            if missing:
                self._write(log, missing, is_next=True)
            return len(missing)

        return self._commit(add) if rows else 0

    def replace_ids(self, rows: Sequence[Mapping[str, Any]], *, ids: Collection[str]) -> None:
        """Put the rows in place of all whose column `id` is one of these, in one commit."""
        if rows or ids:
            self._commit(lambda log: self._write(log, rows, is_next=True, instead_of=ids))

    def delete(self, where: str) -> None:
        """Remove the rows that satisfy the SQL predicate, in one commit."""
        self._commit(lambda log: log and log.delete(where))

    def rows(self, columns: Iterable[str], where: str = "true") -> list[dict[str, Any]]:
        """The rows that satisfy the SQL predicate, as column -> value; none if the table does not exist yet.

        columns: names, the first one maybe after DISTINCT."""
        from deltalake.exceptions import DeltaError

        try:
            log = self._log()
            return _select(log, columns, where) if log else []
        except (DeltaError, OSError) as error:
            raise StorageError("the table could not be read", where=self.name, found=error) from error

    def _log(self) -> DeltaTable | None:
        from deltalake import DeltaTable

        path = str(self.path)
        return DeltaTable(path) if DeltaTable.is_deltatable(path) else None

    def _commit(self, act: Callable[[DeltaTable | None], _Result]) -> _Result:
        """What the act returns, given the table as it is (None: absent). Again whenever another commit was first."""
        from deltalake.exceptions import DeltaError

        while True:
            log = None
            try:
                log = self._log()
                return act(log)
            except (DeltaError, OSError) as error:
                if not self._has_newer_commit(log):
                    raise StorageError(
                        "the rows could not be written", where=self.name, found=error,
                        remedy="Is the disk full or read-only?",
                    ) from error  # fmt: skip

    def _has_newer_commit(self, log: DeltaTable | None) -> bool:
        """Whether the table has a commit after the version of `log`."""
        from deltalake.exceptions import DeltaError

        with suppress(DeltaError, OSError):
            now = self._log()
            return now is not None and (log is None or now.version() > log.version())
        return False

    def _write(
        self, log: DeltaTable | None, rows: Sequence[Mapping[str, Any]], *, is_next: bool,
        instead_of: Collection[str] = (),
    ) -> None:  # fmt: skip
        """One commit. is_next: right after the version of `log`, the first where there is none; else refused."""
        import pyarrow as pa
        from deltalake import CommitProperties, write_deltalake

        properties = CommitProperties(max_commit_retries=0 if is_next else MOST_RETRIES)
        mode: Any = {"mode": "error" if is_next and log is None else "append"}
        if log is not None and instead_of:
            mode = {"mode": "overwrite", "predicate": _has_id(instead_of)}
        write_deltalake(
            log or str(self.path), pa.Table.from_pylist([dict(row) for row in rows], schema=self._schema()),
            schema_mode="merge", commit_properties=properties, **mode,
        )  # fmt: skip

    def _schema(self) -> pa.Schema:
        import pyarrow as pa

        kinds = {
            "string": pa.string(), "bigint": pa.int64(), "double": pa.float64(),
            "timestamp": pa.timestamp("us", tz="UTC"), "array<string>": pa.list_(pa.string()),
        }  # fmt: skip
        return pa.schema([(name, kinds[kind]) for name, kind in self.columns.items()])


def _select(log: DeltaTable, columns: Iterable[str], where: str) -> list[dict[str, Any]]:
    from deltalake import QueryBuilder

    # The engine of delta-rs and not `to_pyarrow_table`: only the engine reads deletion vectors.
    query = f"SELECT {', '.join(columns)} FROM stored WHERE {where}"
    found: Any = QueryBuilder().register("stored", log).execute(query).read_all()
    names = found.schema.names
    values = ([value.as_py() for value in found.column(name)] for name in names)
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def _has_id(ids: Iterable[str]) -> str:
    return f"id IN ({', '.join(repr(identity) for identity in ids)})"
