"""What the logs of Delta tables say: answered without a Spark job and without a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import deltalake
import pyarrow
import pyarrow.parquet as pq
from deltalake.exceptions import DeltaError, TableNotFoundError

from varve.model.errors import StorageError
from varve.spark.failures import mending
from varve.storage.commits import MARK, RESTORE_OPERATION, CommitNote, commit_note, note_of, whole_note

LAYERS: Final = ("bronze", "silver", "gold", "ops")

Conditions = Sequence[tuple[str, str, Any]]  # (column, operator, value), all of which hold


class DeltaLogs:
    """The logs of the Delta tables under one root. A broken log raises StorageError with what mends it."""

    def __init__(self, root: str | Path) -> None:
        """root: the lake's folder."""
        self.root = str(root)

    def path(self, layer: str, table: str) -> str:
        """The folder of the table."""
        return f"{self.root}/{layer}/{table}"

    def exists(self, layer: str, table: str) -> bool:
        """Whether the table has been written."""
        return self._log(layer, table) is not None

    def version(self, layer: str, table: str) -> int | None:
        """The latest version, None when there is no table."""
        log = self._log(layer, table)
        return None if log is None else log.version()

    def identity(self, layer: str, table: str) -> str | None:
        """Delta's id of the table, another one after it was deleted and made again; None when there is no table."""
        log = self._log(layer, table)
        return None if log is None else str(log.metadata().id)

    def transaction(self, layer: str, table: str, name: str, *, version: int | None = None) -> int | None:
        """The version that the table's transaction `name` had reached, at a version when one is given."""
        log = self._log(layer, table, version)
        return None if log is None else log.transaction_version(name)

    def last_note(self, layer: str, table: str, *kinds: str, **entries: Any) -> dict[str, Any]:
        """The note of the last commit whose note has one of these kinds and all of these entries.

        Empty when it is not among the last hundred, or the table was restored to an older version since."""
        log = self._log(layer, table)
        for commit in log.history(100) if log else ():
            if commit.get("operation") == RESTORE_OPERATION:  # notes after the version that it names hold no more
                return {}
            note = note_of(commit)
            if note.get("kind") in kinds and entries.items() <= note.items():
                return note
        return {}

    def committed_at(self, layer: str, table: str, version: int) -> datetime | None:
        """When a version was committed (UTC); None when there is no such table or version."""
        log = self._log(layer, table)
        if log is None or not 0 <= version <= log.version():
            return None
        commit = log.history(log.version() - version + 1)[-1]
        return datetime.fromtimestamp(commit["timestamp"] / 1000, UTC)

    def is_restored(self, layer: str, table: str) -> bool:
        """Whether the last commit went back to an older version of the table."""
        log = self._log(layer, table)
        return log is not None and log.history(1)[0].get("operation") == RESTORE_OPERATION

    def notes(self, layer: str, table: str, *, since: int) -> dict[int, dict[str, Any]]:
        """The notes of all commits after version `since`, by version; `{}` of one without a note."""
        return {commit.version: dict(commit.note) for commit in self.commits(layer, table, since=since)}

    def commits(self, layer: str, table: str, *, since: int = -1) -> list[CommitNote]:
        """The commits after version `since` that the Delta log still has, oldest first."""
        log = self._log(layer, table)
        if log is None or log.version() <= since:
            return []
        commits = log.history(log.version() - since)
        return sorted(
            (commit_note(commit) for commit in commits if commit["version"] > since), key=lambda one: one.version
        )

    def columns(self, layer: str, table: str, *, version: int | None = None) -> tuple[str, ...]:
        """The names of a table's columns, at a version when one is given."""
        log = self._log(layer, table, version)
        return () if log is None else tuple(field.name for field in log.schema().fields)

    def files(self, layer: str, table: str, *, version: int | None = None) -> list[dict[str, Any]]:
        """The files of a table by its log: path, num_records, `partition.<c>`, `min.<c>`, `max.<c>`; no Spark job."""
        log = self._log(layer, table, version)
        if log is None:
            return []
        found: list[dict[str, Any]] = pyarrow.table(log.get_add_actions(flatten=True)).to_pylist()
        return found

    def rows(self, layer: str, table: str, **partition: str) -> int:
        """Rows by the statistics of the files (deleted rows of not yet rewritten files included), of one partition."""
        return sum(
            file["num_records"] or 0
            for file in self.files(layer, table)
            if all(str(file[f"partition.{column}"]).lower() == value for column, value in partition.items())
        )

    def small(
        self, layer: str, table: str, *, columns: Sequence[str] | None = None, where: Sequence[Conditions] = (),
        **partition: str,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """The rows of one small partition of a table, read without a Spark job.

        columns: only these (None: all); where: only rows that fulfil one of these. Files that hold no such row by
        their statistics are not opened."""
        log = self._log(layer, table)
        if log is None or not self.rows(layer, table, **partition):
            return []
        here = [(column, "=", value) for column, value in partition.items()]
        filters = [[*here, *conditions] for conditions in where] or [here]
        # Pruned first: pyarrow takes some milliseconds for each file that it is given.
        files = log.to_pyarrow_dataset(file_pruning_predicate=filters)
        rows = files.to_table(columns=columns and list(columns), filter=pq.filters_to_expression(filters))
        found: list[dict[str, Any]] = rows.to_pylist()
        return found

    def tables(self) -> list[tuple[str, str]]:
        """(layer, table) of every table, sorted."""
        found = (Path(self.root) / layer for layer in LAYERS)
        return [
            (f.name, t.name) for f in found if f.is_dir() for t in sorted(f.iterdir()) if (t / "_delta_log").is_dir()
        ]

    def _log(self, layer: str, table: str, version: int | None = None) -> deltalake.DeltaTable | None:
        try:
            return deltalake.DeltaTable(self.path(layer, table), version=version)
        except TableNotFoundError:
            return None
        except DeltaError as error:
            raise StorageError(
                "the table's Delta log cannot be read",
                where=f"{layer}.{table}, version {'latest' if version is None else version}",
                found=str(error).splitlines()[0],
                remedy=mending(Path(self.root), layer, table) if version is None else None,
            ) from error

    def commit_with_mark(
        self, layer: str, table: str, before: int | None, note: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:  # fmt: skip
        """The commit after version `before` that carries the mark of a note, None when there is none."""
        log, since = self._log(layer, table), -1 if before is None else before
        if log is None or log.version() <= since:
            return None
        commits = log.history(log.version() - since)
        return next((commit for commit in commits if whole_note(commit).get(MARK) == note[MARK]), None)
