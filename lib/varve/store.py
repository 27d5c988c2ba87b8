"""The tables of the lake: plain Delta at `<lake>/<layer>/<table>`. The only module that imports `delta`.

Every write names its transaction, so the same write a second time changes nothing. What can be answered from the Delta
log alone (does it exist, which version, was this manifest loaded) is answered without a Spark job and without a
session.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import deltalake
import pyarrow
from delta.tables import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from pyarrow.parquet import filters_to_expression
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType, _parse_datatype_string

from varve.errors import DefectError, StorageError
from varve.scope import SCOPE_COLUMNS
from varve.unreadable import mending

LAYERS: Final = ("bronze", "silver", "gold", "ops")
ONCE: Final = 1  # the version of a transaction that happens once: a manifest's

# Files below the first size are put together when there are several in a partition, up to the second [bytes].
SMALL_FILE: Final = 32 * 1024**2
LARGE_FILE: Final = 128 * 1024**2

Conditions = Sequence[tuple[str, str, Any]]  # (column, operator, value), all of which hold

_TXN: Final = "spark.databricks.delta.write.txn{}"
_NOTE: Final = "spark.databricks.delta.commitInfo.userMetadata"


@dataclass(frozen=True, slots=True)
class Commit:
    """What a write did. version: of the table, None when there was nothing to write; rows, files, bytes: added."""

    version: int | None = None
    rows: int = 0
    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Loaded:
    """The transactions that a table has committed: `manifest in loaded`."""

    table: deltalake.DeltaTable | None

    def __contains__(self, transaction: object) -> bool:
        return self.table is not None and self.table.transaction_version(str(transaction)) is not None


class Store:
    """The Delta tables under one root. `session` gives the Spark session when a job is needed, not before."""

    def __init__(self, session: Callable[[], SparkSession], root: str | Path) -> None:
        self._session = session
        self.root = str(root)

    @property
    def spark(self) -> SparkSession:
        """The session, started at the first call."""
        return self._session()

    # --- what the Delta log knows: no job, no session ---------------------------------------------------------

    def path(self, layer: str, table: str) -> str:
        """Where the table lies."""
        return f"{self.root}/{layer}/{table}"

    def exists(self, layer: str, table: str) -> bool:
        """Whether the table has been written."""
        return self._log(layer, table) is not None

    def version(self, layer: str, table: str) -> int | None:
        """The latest version, None when there is no table."""
        log = self._log(layer, table)
        return None if log is None else log.version()

    def loaded(self, layer: str, table: str) -> Loaded:
        """The transactions of the table; `manifest.id in store.loaded(...)` says whether it was written."""
        return Loaded(self._log(layer, table))

    def transaction(self, layer: str, table: str, name: str, *, version: int | None = None) -> int | None:
        """The version that the table's transaction `name` had reached, at a version when one is given."""
        log = self._log(layer, table, version)
        return None if log is None else log.transaction_version(name)

    def last_note(self, layer: str, table: str, *kinds: str, **said: Any) -> dict[str, Any]:
        """What the last commit of these kinds, that said these words among others, said of itself.

        Empty when it is not among the last hundred."""
        log = self._log(layer, table)
        for commit in log.history(100) if log else ():
            note = _note_of(commit)
            if note.get("kind") in kinds and said.items() <= note.items():
                return note
        return {}

    def committed_at(self, layer: str, table: str, version: int) -> datetime | None:
        """When a version was committed (UTC); None when there is no such table or version."""
        log = self._log(layer, table)
        if log is None or not 0 <= version <= log.version():
            return None
        commit = log.history(log.version() - version + 1)[-1]
        return datetime.fromtimestamp(commit["timestamp"] / 1000, UTC)

    def notes(self, layer: str, table: str, *, since: int) -> dict[int, dict[str, Any]]:
        """What every commit after version `since` said of itself, by its version; `{}` of one that said nothing."""
        log = self._log(layer, table)
        if log is None or log.version() <= since:
            return {}
        commits = log.history(log.version() - since)
        return {commit["version"]: _note_of(commit) for commit in commits if commit["version"] > since}

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
        # Pruned first: pyarrow takes some milliseconds for each file that it is told of.
        files = log.to_pyarrow_dataset(file_pruning_predicate=filters)
        rows = files.to_table(columns=columns and list(columns), filter=filters_to_expression(filters))
        found: list[dict[str, Any]] = rows.to_pylist()
        return found

    def metrics(self, layer: str, table: str) -> Commit:
        """What the last commit added."""
        log = self._log(layer, table)
        if log is None:
            return Commit()
        last = log.history(1)[0]
        numbers = {k: int(v) for k, v in last.get("operationMetrics", {}).items() if str(v).isdigit()}
        return Commit(
            version=log.version(),
            rows=numbers.get("numOutputRows", 0),
            files=numbers.get("numFiles", numbers.get("numTargetFilesAdded", numbers.get("numAddedFiles", 0))),
            bytes=numbers.get("numOutputBytes", numbers.get("numTargetBytesAdded", 0)),
        )

    def tables(self) -> list[tuple[str, str]]:
        """(layer, table) of every table, sorted."""
        found = (Path(self.root) / layer for layer in LAYERS)
        return [
            (f.name, t.name) for f in found if f.is_dir() for t in sorted(f.iterdir()) if (t / "_delta_log").is_dir()
        ]

    # --- reading ----------------------------------------------------------------------------------------------

    def read(self, layer: str, table: str, *, version: int | None = None) -> DataFrame:
        """The table, at a version when one is given."""
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        try:
            return reader.load(self.path(layer, table))
        except AnalysisException as error:
            raise StorageError(
                "the table cannot be read",
                where=f"{layer}.{table}",
                found=str(error).splitlines()[0],
                remedy="was its job run? ./spark-submit.sh check tells",
            ) from error

    def frame(self, rows: Sequence[tuple[object, ...]], schema: StructType | str) -> DataFrame:
        """A few rows of our own as a frame: local rows of the plan, without a Python worker."""
        spark = self.spark  # a DDL text is parsed by the JVM
        fields = _parse_datatype_string(schema) if isinstance(schema, str) else schema
        assert isinstance(fields, StructType)
        return spark.createDataFrame(_arrow(rows, fields), fields)

    def read_files(self, layer: str, table: str, files: Sequence[Mapping[str, Any]]) -> DataFrame:
        """The rows of some files of a table that has no deletion vectors."""
        root = self.path(layer, table)
        schema = self.read(layer, table).schema
        return self.spark.read.schema(schema).option("basePath", root).parquet(*[f"{root}/{f['path']}" for f in files])

    # --- writing ----------------------------------------------------------------------------------------------

    def append(
        self,
        rows: DataFrame,
        layer: str,
        table: str,
        *,
        txn: str,
        version: int = ONCE,
        partition_by: Sequence[str] = SCOPE_COLUMNS,
        properties: Mapping[str, str] | None = None,
        note: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Add rows under a transaction. A second append under the same name and version writes nothing.

        Creates the table when it is absent (partition_by and properties count then); new columns widen it.
        """
        reached = self.transaction(layer, table, txn)
        if reached is not None and reached >= version:
            return Commit()
        writer = rows.write.format("delta").mode("append").options(**_options(txn, version, note))
        if self.exists(layer, table):
            writer = writer.option("mergeSchema", "true")
        else:
            writer = writer.partitionBy(*partition_by).options(**(properties or {}))
        writer.save(self.path(layer, table))
        return self._committed(layer, table, txn, version)

    def append_few(
        self, rows: Sequence[tuple[object, ...]], schema: StructType, layer: str, table: str, *,
        txn: str, version: int = ONCE, note: Mapping[str, Any],
    ) -> Commit:  # fmt: skip
        """Add a few rows of our own to a table that is there, as `append` does, without a Spark job."""
        reached = self.transaction(layer, table, txn)
        if reached is not None and reached >= version:
            return Commit()
        deltalake.write_deltalake(
            self.path(layer, table), _arrow(rows, schema), mode="append", schema_mode="merge",
            commit_properties=deltalake.CommitProperties(
                custom_metadata={"userMetadata": json.dumps(note)},
                app_transactions=[deltalake.Transaction(txn, version)],
            ),
        )  # fmt: skip
        return self._committed(layer, table, txn, version)

    def replace(
        self,
        rows: DataFrame,
        layer: str,
        table: str,
        *,
        where: str | None = None,
        txn: str | None = None,
        version: int = ONCE,
        partition_by: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
        note: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Replace the table, or the rows that `where` names, in one commit: readers see the old rows or the new."""
        options = _options(txn, version, note)
        writer = rows.write.format("delta").mode("overwrite").options(**options)
        if where is not None:
            writer = writer.option("replaceWhere", where).option("mergeSchema", "true")
        else:
            writer = writer.option("overwriteSchema", "true").partitionBy(*partition_by).options(**(properties or {}))
        writer.save(self.path(layer, table))
        return self._committed(layer, table, txn, version)

    def exchange(
        self,
        source: DataFrame,
        layer: str,
        table: str,
        *,
        on: Column,
        columns: Sequence[str],
        when_insert: str,
        when_delete: str | None,
        txn: str | None = None,
        version: int = ONCE,
        note: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Put the rows of `source` in place of those that they match, and add its others, in one commit with deletion
        vectors.

        on: over the aliases `old` (the table) and `new` (the source); columns: of the table, all of which the source
        has; when_delete: which matched rows go and are not replaced. A replaced row takes nothing from the old one, so
        of the table only what `on` names is read. source: checkpointed, Delta takes no copy of it.
        """
        values = {column: f"new.{column}" for column in columns}
        with self._session_of_its_own(txn, version, note) as session:
            session.conf.set("spark.databricks.delta.merge.materializeSource", "none")
            # The join keeps every row of the source, so it cannot be broadcast; hashing it spares a sort of the table.
            session.conf.set("spark.sql.adaptive.enabled", "true")
            session.conf.set("spark.sql.adaptive.maxShuffledHashJoinLocalMapThreshold", "256m")
            merge = DeltaTable.forPath(session, self.path(layer, table)).alias("old").merge(source.alias("new"), on)
            if when_delete is not None:
                merge = merge.whenMatchedDelete(when_delete)
            merge = merge.whenMatchedUpdate(set=dict(values)).whenNotMatchedInsert(when_insert, dict(values))
            merge.withSchemaEvolution().execute()
        return self._committed(layer, table, txn, version)

    def advance(
        self, layer: str, table: str, *, txn: str, version: int = ONCE, note: Mapping[str, Any] | None = None
    ) -> Commit:
        """A commit of a transaction alone: no rows, no Spark job."""
        log = self._log(layer, table)
        if log is None:
            raise StorageError("there is no such table", where=f"{layer}.{table}")
        told = {} if note is None else {"userMetadata": json.dumps(note)}
        log.create_write_transaction(
            [], mode="append", schema=log.schema(),
            commit_properties=deltalake.CommitProperties(
                custom_metadata=told, app_transactions=[deltalake.Transaction(txn, version)]
            ),
        )  # fmt: skip
        return Commit(version=log.version())

    def remove(self, where: Column, layer: str, table: str, *, note: Mapping[str, Any]) -> int:
        """Delete rows in one commit, and return how many. No row: no commit."""
        before = self.version(layer, table)
        with self._session_of_its_own(None, ONCE, note) as session:
            DeltaTable.forPath(session, self.path(layer, table)).delete(where)
        log = self._noted(layer, table, before, note)
        return 0 if log is None else int(log.history(1)[0].get("operationMetrics", {}).get("numDeletedRows", 0))

    def compact(self, layer: str, table: str, *, note: Mapping[str, Any]) -> Commit:
        """Put small files of a partition together and purge deleted rows, in one commit. Nothing to do: no commit."""
        before = self.version(layer, table)
        with self._session_of_its_own(None, ONCE, note) as session:
            session.conf.set("spark.databricks.delta.optimize.minFileSize", str(SMALL_FILE))
            session.conf.set("spark.databricks.delta.optimize.maxFileSize", str(LARGE_FILE))
            session.sql(f"OPTIMIZE delta.`{self.path(layer, table)}`").collect()
        if self._noted(layer, table, before, note) is None:
            return Commit()
        return self.metrics(layer, table)

    def vacuum(self, layer: str, table: str, *, keep: timedelta | None = None) -> None:
        """Delete the files that no version younger than `keep` needs (None: the table's own, 7 days by default).

        Makes no commit: a commit that changes nothing would only lengthen the log."""
        with self._session_of_its_own(None, ONCE, None) as session:
            session.conf.set("spark.databricks.delta.vacuum.logging.enabled", "false")
            hours = ""
            if keep is not None:  # less than the table's own on purpose
                session.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
                hours = f" RETAIN {keep / timedelta(hours=1)} HOURS"
            session.sql(f"VACUUM delta.`{self.path(layer, table)}`{hours}").collect()

    # --- inside -----------------------------------------------------------------------------------------------

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

    @contextmanager
    def _session_of_its_own(
        self, txn: str | None, version: int, note: Mapping[str, Any] | None
    ) -> Iterator[SparkSession]:
        """A session for one statement: Delta silently drops every later write of a session that names a transaction."""
        session = self.spark.newSession()
        if txn is not None:
            session.conf.set(_TXN.format("AppId"), txn)
            session.conf.set(_TXN.format("Version"), str(version))
        if note is not None:
            session.conf.set(_NOTE, json.dumps(note))
        yield session

    def _noted(
        self, layer: str, table: str, before: int | None, note: Mapping[str, Any]
    ) -> deltalake.DeltaTable | None:
        """The table after a statement that may have committed, once it is proved that a commit carries the note.

        None when it has not committed."""
        log = self._log(layer, table)
        if log is None or log.version() == before:
            return None
        if _note_of(log.history(1)[0]) != dict(note):
            raise DefectError(
                "a commit does not say what it is",
                where=f"{layer}.{table}, version {log.version()}",
                found=_note_of(log.history(1)[0]),
                expected=dict(note),
            )
        return log

    def _committed(self, layer: str, table: str, txn: str | None, version: int) -> Commit:
        """The last commit, once it is proved that it carries the transaction."""
        if txn is not None and self.transaction(layer, table, txn) != version:
            raise DefectError(
                "a write reported success and is not in the table's log",
                where=f"{layer}.{table}",
                found=f"transaction {txn} at {self.transaction(layer, table, txn)}",
                expected=version,
            )
        return self.metrics(layer, table)


def _arrow(rows: Sequence[tuple[object, ...]], schema: StructType) -> pyarrow.Table:
    arrow = to_arrow_schema(schema, timezone="UTC")
    columns = list(zip(*rows, strict=True)) or [()] * len(arrow)
    arrays = [pyarrow.array(list(column), type=field.type) for column, field in zip(columns, arrow, strict=True)]
    return pyarrow.Table.from_arrays(arrays, schema=arrow)


def _note_of(commit: Mapping[str, Any]) -> dict[str, Any]:
    """What a commit says of itself; of another system's commit nothing, whatever it wrote there."""
    try:
        note = json.loads(commit.get("userMetadata") or "{}")
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _options(txn: str | None, version: int, note: Mapping[str, Any] | None) -> dict[str, str]:
    options: dict[str, str] = {}
    if txn is not None:
        options |= {"txnAppId": txn, "txnVersion": str(version)}
    if note is not None:
        options["userMetadata"] = json.dumps(note)
    return options
