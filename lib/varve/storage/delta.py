"""The tables of the lake: plain Delta at `<lake>/<layer>/<table>`. The only module that imports `delta`.

Every write carries a mark of its own in its note, by which its commit is found: another run's is never taken for it.
What can be answered from the Delta log alone (does it exist, which version, what do its commits say) is answered
without a Spark job and without a session.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import deltalake
import pyarrow
import pyarrow.parquet as pq
from delta.tables import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType, _parse_datatype_string

from varve.model.errors import OvertakenError, StorageError
from varve.model.scope import SCOPE_COLUMNS
from varve.spark.failures import mending
from varve.storage.files import MOST_RETRIES

LAYERS: Final = ("bronze", "silver", "gold", "ops")

# Files below the first size are put together when there are several in a partition, up to the second [bytes].
SMALL_FILE: Final = 32 * 1024**2
LARGE_FILE: Final = 128 * 1024**2

Conditions = Sequence[tuple[str, str, Any]]  # (column, operator, value), all of which hold

RESTORE: Final = "RESTORE"  # what Delta calls the commit that goes back to an older version

_TXN: Final = "spark.databricks.delta.write.txn{}"
_NOTE: Final = "spark.databricks.delta.commitInfo.userMetadata"
# How Delta says that another commit was first.
_CONFLICT: Final = re.compile(r"(Concurrent|MetadataChanged|ProtocolChanged)\w*Exception|DELTA_CONCURRENT_\w+")
_MARK: Final = "commit"  # in the note of a commit: what tells it from every other one


@dataclass(frozen=True, slots=True)
class Commit:
    """What a write did. version: of the table, None when there was nothing to write; rows, files, bytes: added."""

    version: int | None = None
    rows: int = 0
    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """What a commit says of itself. operation: what Delta calls it; restored: the version that it went back to, -1 when
    it named a time instead, None of any other commit."""

    version: int
    note: Mapping[str, Any]
    operation: str = ""
    restored: int | None = None


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

    def identity(self, layer: str, table: str) -> str | None:
        """What tells the table from one that was deleted and made again; None when there is no table."""
        log = self._log(layer, table)
        return None if log is None else str(log.metadata().id)

    def transaction(self, layer: str, table: str, name: str, *, version: int | None = None) -> int | None:
        """The version that the table's transaction `name` had reached, at a version when one is given."""
        log = self._log(layer, table, version)
        return None if log is None else log.transaction_version(name)

    def last_note(self, layer: str, table: str, *kinds: str, **said: Any) -> dict[str, Any]:
        """What the last commit of these kinds, that said these words among others, said of itself.

        Empty when it is not among the last hundred, or the table was restored to an older version since."""
        log = self._log(layer, table)
        for commit in log.history(100) if log else ():
            if commit.get("operation") == RESTORE:  # what was said since the version that it went back to holds no more
                return {}
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

    def is_restored(self, layer: str, table: str) -> bool:
        """Whether the last commit went back to an older version of the table."""
        log = self._log(layer, table)
        return log is not None and log.history(1)[0].get("operation") == RESTORE

    def notes(self, layer: str, table: str, *, since: int) -> dict[int, dict[str, Any]]:
        """What every commit after version `since` said of itself, by its version; `{}` of one that said nothing."""
        return {said.version: dict(said.note) for said in self.said(layer, table, since=since)}

    def said(self, layer: str, table: str, *, since: int = -1) -> list[Said]:
        """The commits after version `since` that the Delta log still has, oldest first."""
        log = self._log(layer, table)
        if log is None or log.version() <= since:
            return []
        commits = log.history(log.version() - since)
        return sorted((_said(commit) for commit in commits if commit["version"] > since), key=lambda one: one.version)

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
        rows = files.to_table(columns=columns and list(columns), filter=pq.filters_to_expression(filters))
        found: list[dict[str, Any]] = rows.to_pylist()
        return found

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
        version: int,
        is_fenced: bool = False,
        partition_by: Sequence[str] = SCOPE_COLUMNS,
        properties: Mapping[str, str] | None = None,
        note: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Add rows under a transaction. A second append under the same name and version writes nothing; is_fenced: it
        raises StorageError, because another run has taken the number.

        Creates the table when it is absent (partition_by and properties count then); new columns widen it.
        """
        log = self._log(layer, table)
        before, marked = (None if log is None else log.version()), _marked(note)
        if log is not None and self._is_reached(log, layer, table, txn, version, is_fenced):
            return Commit()
        writer = rows.write.format("delta").mode("append").options(**_options(txn, version, marked))
        if before is not None:
            writer = writer.option("mergeSchema", "true")
        else:
            writer = writer.partitionBy(*partition_by).options(**(properties or {}))
        with _refused(layer, table):
            writer.save(self.path(layer, table))
        return self._written(layer, table, before, marked)

    def append_few(
        self, rows: Sequence[tuple[object, ...]], schema: StructType, layer: str, table: str, *,
        txn: str, version: int, is_fenced: bool = False, note: Mapping[str, Any],
    ) -> Commit:  # fmt: skip
        """Add a few rows of our own to a table that is there, as `append` does, without a Spark job."""
        log = self._present(layer, table)
        before, marked = log.version(), _marked(note)
        if self._is_reached(log, layer, table, txn, version, is_fenced):
            return Commit()
        with _refused(layer, table):
            deltalake.write_deltalake(
                log, _arrow(rows, schema), mode="append", schema_mode="merge",
                commit_properties=_properties(txn, version, marked),
            )  # fmt: skip
        return self._written(layer, table, before, marked)

    def append_shared(self, rows: DataFrame, layer: str, table: str, *, note: Mapping[str, Any]) -> int:
        """Add rows to a table that several processes write at once, and return how many; no row: no commit.

        Spark writes the files and delta-rs commits them, because its commits are put-if-absent on a local disk too.
        rows: the columns of the table, which is not partitioned."""
        folder = f"batch-{secrets.token_hex(8)}"
        place = Path(self.path(layer, table))
        rows.write.mode("error").parquet(str(place / folder))
        files = sorted((place / folder).glob("*.parquet"))
        counts = {path: pq.read_metadata(path).num_rows for path in files}
        actions: list[AddAction | RemoveAction] = [
            AddAction(
                path=f"{folder}/{path.name}", size=path.stat().st_size, partition_values={},
                modification_time=int(path.stat().st_mtime * 1000), data_change=True,
                stats=json.dumps({"numRecords": counts[path]}),
            )
            for path in files
            if counts[path]
        ]  # fmt: skip
        if not actions:
            shutil.rmtree(place / folder)
            return 0
        schema = deltalake.Schema.from_arrow(to_arrow_schema(rows.schema, timezone="UTC"))
        if self._log(layer, table) is None:
            with suppress(DeltaError):  # another process has made it
                create_table_with_add_actions(str(place), schema, [], mode="error")
        marked, is_committed = _marked(note), False
        while not is_committed:
            is_committed = self._has_added(layer, table, actions, marked)
        return sum(counts.values())

    def _has_added(
        self, layer: str, table: str, actions: list[AddAction | RemoveAction], note: Mapping[str, Any]
    ) -> bool:  # fmt: skip
        """Add files right after the present version; False when another commit was first, such as one that deletes."""
        log = self._present(layer, table)
        before = log.version()
        properties = deltalake.CommitProperties(
            custom_metadata={"userMetadata": json.dumps(note)}, max_commit_retries=MOST_RETRIES
        )
        try:
            log.create_write_transaction(actions, mode="append", schema=log.schema(), commit_properties=properties)
        except CommitFailedError as error:
            if self.version(layer, table) == before:
                raise StorageError("the rows could not be written", where=f"{layer}.{table}", found=error) from error
            return False
        return True

    def replace(
        self,
        rows: DataFrame,
        layer: str,
        table: str,
        *,
        where: str | None = None,
        txn: str | None = None,
        version: int = 0,
        based_on: int | None = None,
        partition_by: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
        note: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Replace the table, or the rows that `where` names, in one commit: readers see the old rows or the new.

        based_on: the version that the rows were made from; raises StorageError when the table has gone on since."""
        before, marked = self._still(layer, table, based_on), _marked(note)
        writer = rows.write.format("delta").mode("overwrite").options(**_options(txn, version, marked))
        if where is not None:
            writer = writer.option("replaceWhere", where).option("mergeSchema", "true")
        else:
            writer = writer.option("overwriteSchema", "true").partitionBy(*partition_by).options(**(properties or {}))
        with _refused(layer, table):
            writer.save(self.path(layer, table))
        return self._written(layer, table, before, marked, based_on=based_on)

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
        version: int = 0,
        based_on: int | None = None,
        note: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Put the rows of `source` in place of those that they match, and add its others, in one commit with deletion
        vectors.

        on: over the aliases `old` (the table) and `new` (the source); columns: of the table, all of which the source
        has; when_delete: which matched rows go and are not replaced. A replaced row takes nothing from the old one, so
        of the table only what `on` names is read. source: checkpointed, Delta takes no copy of it. based_on: see
        `replace`.
        """
        before, marked = self._still(layer, table, based_on), _marked(note)
        values = {column: f"new.{column}" for column in columns}
        with self._session_of_its_own(txn, version, marked) as session, _refused(layer, table):
            session.conf.set("spark.databricks.delta.merge.materializeSource", "none")
            # The join keeps every row of the source, so it cannot be broadcast; hashing it spares a sort of the table.
            session.conf.set("spark.sql.adaptive.enabled", "true")
            session.conf.set("spark.sql.adaptive.maxShuffledHashJoinLocalMapThreshold", "256m")
            merge = DeltaTable.forPath(session, self.path(layer, table)).alias("old").merge(source.alias("new"), on)
            if when_delete is not None:
                merge = merge.whenMatchedDelete(when_delete)
            merge = merge.whenMatchedUpdate(set=dict(values)).whenNotMatchedInsert(when_insert, dict(values))
            merge.withSchemaEvolution().execute()
        return self._written(layer, table, before, marked, based_on=based_on)

    def advance(
        self, layer: str, table: str, *, txn: str, version: int, is_fenced: bool = False,
        note: Mapping[str, Any] | None = None,
    ) -> Commit:  # fmt: skip
        """A commit of a transaction alone: no rows, no Spark job. Raises OvertakenError when it has gone further."""
        log = self._present(layer, table)
        before, marked = log.version(), _marked(note)
        self._is_reached(log, layer, table, txn, version if is_fenced else version + 1, is_fenced=True)
        with _refused(layer, table):
            log.create_write_transaction(
                [], mode="append", schema=log.schema(), commit_properties=_properties(txn, version, marked)
            )
        return self._written(layer, table, before, marked)

    def remove(self, where: Column, layer: str, table: str, *, note: Mapping[str, Any]) -> int:
        """Delete rows in one commit, and return how many. No row: no commit."""
        before, marked = self.version(layer, table), _marked(note)
        with self._session_of_its_own(None, 0, marked) as session, _refused(layer, table):
            DeltaTable.forPath(session, self.path(layer, table)).delete(where)
        commit = self._found(layer, table, before, marked)
        return 0 if commit is None else int(commit.get("operationMetrics", {}).get("numDeletedRows", 0))

    def compact(self, layer: str, table: str, *, note: Mapping[str, Any]) -> Commit:
        """Put small files of a partition together and purge deleted rows, in one commit. Nothing to do: no commit."""
        before, marked = self.version(layer, table), _marked(note)
        with self._session_of_its_own(None, 0, marked) as session, _refused(layer, table):
            session.conf.set("spark.databricks.delta.optimize.minFileSize", str(SMALL_FILE))
            session.conf.set("spark.databricks.delta.optimize.maxFileSize", str(LARGE_FILE))
            session.sql(f"OPTIMIZE delta.`{self.path(layer, table)}`").collect()
        commit = self._found(layer, table, before, marked)
        return Commit() if commit is None else _commit_of(commit)

    def vacuum(self, layer: str, table: str, *, keep: timedelta | None = None) -> None:
        """Delete the files that no version younger than `keep` needs (None: the table's own, 7 days by default).

        Makes no commit: a commit that changes nothing would only lengthen the log."""
        with self._session_of_its_own(None, 0, None) as session:
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

    def _present(self, layer: str, table: str) -> deltalake.DeltaTable:
        log = self._log(layer, table)
        if log is None:
            raise StorageError("there is no such table", where=f"{layer}.{table}")
        return log

    def _is_reached(
        self, log: deltalake.DeltaTable, layer: str, table: str, txn: str, version: int, is_fenced: bool
    ) -> bool:  # fmt: skip
        """Whether the table has committed the transaction already; raises OvertakenError when that is a fence."""
        reached = log.transaction_version(txn)
        if reached is None or reached < version:
            return False
        if is_fenced:
            raise _gone_on(f"{layer}.{table}", f"{txn} at {reached}", f"below {version}")
        return True

    def _still(self, layer: str, table: str, based_on: int | None) -> int | None:
        """The version of the table, once it is known to be the one that a write was based on."""
        now = self.version(layer, table)
        if based_on is not None and now != based_on:
            raise _gone_on(f"{layer}.{table}", f"version {now}", f"version {based_on}")
        return now

    def _written(
        self, layer: str, table: str, before: int | None, note: Mapping[str, Any], *, based_on: int | None = None
    ) -> Commit:  # fmt: skip
        """The commit that a write made. Delta drops a write without a word when its transaction was reached before.

        based_on: see `replace`. Delta begins to watch for other commits some moments after `_still` has looked: what
        came in between is brought back."""
        commit = self._found(layer, table, before, note)
        if commit is None:
            raise _gone_on(f"{layer}.{table}", "no commit of this run", "one that carries its mark")
        if based_on is not None and (seen := commit.get("readVersion")) != based_on:
            DeltaTable.forPath(self.spark, self.path(layer, table)).restoreToVersion(commit["version"] - 1)
            raise _gone_on(f"{layer}.{table}", f"version {seen}", f"version {based_on}")
        return _commit_of(commit)

    def _found(
        self, layer: str, table: str, before: int | None, note: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:  # fmt: skip
        """The commit after version `before` that carries the mark of a note, None when there is none."""
        log, since = self._log(layer, table), -1 if before is None else before
        if log is None or log.version() <= since:
            return None
        commits = log.history(log.version() - since)
        return next((commit for commit in commits if _whole_note(commit).get(_MARK) == note[_MARK]), None)


@contextmanager
def _refused(layer: str, table: str) -> Iterator[None]:
    """Turns a commit that is refused because another one was first into an OvertakenError."""
    try:
        yield
    except CommitFailedError as error:
        raise _gone_on(f"{layer}.{table}", str(error).splitlines()[0], "no other commit meanwhile") from error
    except (PySparkException, Py4JJavaError) as error:
        if (found := _CONFLICT.search(str(error))) is None:
            raise
        raise _gone_on(f"{layer}.{table}", found[0], "no other commit meanwhile") from error


def _gone_on(where: str, found: str, expected: str) -> OvertakenError:
    return OvertakenError(
        "another run has written the table meanwhile", where=where, found=found, expected=expected,
        remedy="Nothing of this write was kept: run again to go on from what the other run left.",
    )  # fmt: skip


def _arrow(rows: Sequence[tuple[object, ...]], schema: StructType) -> pyarrow.Table:
    arrow = to_arrow_schema(schema, timezone="UTC")
    columns = list(zip(*rows, strict=True)) or [()] * len(arrow)
    arrays = [pyarrow.array(list(column), type=field.type) for column, field in zip(columns, arrow, strict=True)]
    return pyarrow.Table.from_arrays(arrays, schema=arrow)


def _said(commit: Mapping[str, Any]) -> Said:
    operation = str(commit.get("operation", ""))
    restored = None
    if operation == RESTORE:
        version = str((commit.get("operationParameters") or {}).get("version"))
        restored = int(version) if version.isdigit() else -1
    return Said(commit["version"], _note_of(commit), operation, restored)


def _note_of(commit: Mapping[str, Any]) -> dict[str, Any]:
    """What a commit says of itself; of another system's commit nothing, whatever it wrote there."""
    note = _whole_note(commit)
    note.pop(_MARK, None)
    return note


def _whole_note(commit: Mapping[str, Any]) -> dict[str, Any]:
    try:
        note = json.loads(commit.get("userMetadata") or "{}")
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _marked(note: Mapping[str, Any] | None) -> dict[str, Any]:
    """A note by which its commit can be told from every other one."""
    return {**(note or {}), _MARK: secrets.token_hex(8)}


def _commit_of(commit: Mapping[str, Any]) -> Commit:
    numbers = {k: int(v) for k, v in commit.get("operationMetrics", {}).items() if str(v).isdigit()}
    return Commit(
        version=commit["version"],
        rows=numbers.get("numOutputRows", numbers.get("num_added_rows", 0)),
        files=numbers.get("numFiles", numbers.get("numTargetFilesAdded", numbers.get("numAddedFiles", 0))),
        bytes=numbers.get("numOutputBytes", numbers.get("numTargetBytesAdded", 0)),
    )


def _properties(txn: str, version: int, note: Mapping[str, Any]) -> deltalake.CommitProperties:
    """Of a commit by delta-rs that is refused when another one was first."""
    return deltalake.CommitProperties(
        custom_metadata={"userMetadata": json.dumps(note)}, max_commit_retries=0,
        app_transactions=[deltalake.Transaction(txn, version)],
    )  # fmt: skip


def _options(txn: str | None, version: int, note: Mapping[str, Any]) -> dict[str, str]:
    options = {"userMetadata": json.dumps(note)}
    if txn is not None:
        options |= {"txnAppId": txn, "txnVersion": str(version)}
    return options
