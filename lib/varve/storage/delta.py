"""The tables of the lake: plain Delta at `<lake>/<layer>/<table>`. The only module that imports `delta`.

What can be answered from the Delta log alone is answered by `delta_log`, without a Spark job and without a session.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import deltalake
import pyarrow
import pyarrow.parquet as pq
from delta.tables import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType, _parse_datatype_string

from varve.model.errors import StorageError
from varve.model.scope import SCOPE_COLUMNS
from varve.storage.commits import (
    Commit,
    commit_of,
    conflicts_as_overtaken,
    overtaken,
    properties_with_txn,
    with_mark,
    writer_options,
)
from varve.storage.delta_log import DeltaLogs
from varve.storage.plain import plain_files, read_plain
from varve.storage.small_tables import MOST_RETRIES

# Files below the first size are put together when there are several in a partition, up to the second [bytes].
SMALL_FILE: Final = 32 * 1024**2
LARGE_FILE: Final = 128 * 1024**2


_TXN: Final = "spark.databricks.delta.write.txn{}"
_NOTE: Final = "spark.databricks.delta.commitInfo.userMetadata"


class Store(DeltaLogs):
    """The Delta tables under one root, read and written. A table is named by layer and table.

    Every write is one commit, and raises OvertakenError when another commit was first: nothing of it is kept then.
    Reading and deciding raise StorageError for a table that is absent or broken. `note` is what the commit says of
    itself, as JSON; `txn` and `version` are Delta's transaction, which commits once.
    """

    def __init__(self, session: Callable[[], SparkSession], root: str | Path) -> None:
        """session: gives the Spark session; root: the lake's folder."""
        super().__init__(root)
        self._session = session

    @property
    def spark(self) -> SparkSession:
        """The session, started at the first call."""
        return self._session()

    # --- reading ----------------------------------------------------------------------------------------------

    def read(self, layer: str, table: str, *, version: int | None = None) -> DataFrame:
        """The table, at a version when one is given: as it is now, whatever is committed while it is read."""
        log, path = self._log(layer, table, version), self.path(layer, table)
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        if log is not None and (paths := plain_files(log, path)) is not None:
            with suppress(AnalysisException):  # a file is lost: Delta says which when it is opened
                return read_plain(self.spark, log, path, paths)
        try:
            return reader.load(path)
        except AnalysisException as error:
            raise StorageError(
                "the table cannot be read",
                where=f"{layer}.{table}",
                found=str(error).splitlines()[0],
                remedy="Run ./spark-submit.sh status: its job may not have run yet",
            ) from error

    def frame(self, rows: Sequence[tuple[object, ...]], schema: StructType | str) -> DataFrame:
        """A few rows as a frame with this schema (or DDL text): local rows of the plan, without a Python worker."""
        spark = self.spark  # a DDL text is parsed by the JVM
        fields = _parse_datatype_string(schema) if isinstance(schema, str) else schema
        assert isinstance(fields, StructType)
        return spark.createDataFrame(_arrow(rows, fields), fields)

    def read_files(self, layer: str, table: str, files: Sequence[Mapping[str, Any]]) -> DataFrame:
        """The rows of some files of a table without deletion vectors. files: as `files` gives them, at least one."""
        log = self._present(layer, table)
        return read_plain(self.spark, log, self.path(layer, table), [str(file["path"]) for file in files])

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
        raises OvertakenError, because another run has taken the number.

        Creates the table when it is absent (partition_by and properties count then); new columns widen it.
        """
        log = self._log(layer, table)
        before, marked = (None if log is None else log.version()), with_mark(note)
        if log is not None and self._is_reached(log, layer, table, txn, version, is_fenced):
            return Commit()
        writer = rows.write.format("delta").mode("append").options(**writer_options(txn, version, marked))
        if before is not None:
            writer = writer.option("mergeSchema", "true")
        else:
            writer = writer.partitionBy(*partition_by).options(**(properties or {}))
        with conflicts_as_overtaken(layer, table):
            writer.save(self.path(layer, table))
        return self._written(layer, table, before, marked)

    def append_few(
        self, rows: Sequence[tuple[object, ...]], schema: StructType, layer: str, table: str, *,
        txn: str, version: int, is_fenced: bool = False, note: Mapping[str, Any],
    ) -> Commit:  # fmt: skip
        """Add a few rows of our own to a table that is there, as `append` does, without a Spark job."""
        log = self._present(layer, table)
        before, marked = log.version(), with_mark(note)
        if self._is_reached(log, layer, table, txn, version, is_fenced):
            return Commit()
        with conflicts_as_overtaken(layer, table):
            deltalake.write_deltalake(
                log, _arrow(rows, schema), mode="append", schema_mode="merge",
                commit_properties=properties_with_txn(txn, version, marked),
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
        marked, is_committed = with_mark(note), False
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

        based_on: the version that the rows were made from; raises OvertakenError when the table has gone on since."""
        before, marked = self._still(layer, table, based_on), with_mark(note)
        writer = rows.write.format("delta").mode("overwrite").options(**writer_options(txn, version, marked))
        if where is not None:
            writer = writer.option("replaceWhere", where).option("mergeSchema", "true")
        else:
            writer = writer.option("overwriteSchema", "true").partitionBy(*partition_by).options(**(properties or {}))
        with conflicts_as_overtaken(layer, table):
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
        before, marked = self._still(layer, table, based_on), with_mark(note)
        values = {column: f"new.{column}" for column in columns}
        with self._session_of_its_own(txn, version, marked) as session, conflicts_as_overtaken(layer, table):
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
        before, marked = log.version(), with_mark(note)
        self._is_reached(log, layer, table, txn, version if is_fenced else version + 1, is_fenced=True)
        with conflicts_as_overtaken(layer, table):
            log.create_write_transaction(
                [], mode="append", schema=log.schema(), commit_properties=properties_with_txn(txn, version, marked)
            )
        return self._written(layer, table, before, marked)

    def remove(self, where: Column, layer: str, table: str, *, note: Mapping[str, Any]) -> int:
        """Delete rows in one commit, and return how many. No row: no commit."""
        before, marked = self.version(layer, table), with_mark(note)
        with self._session_of_its_own(None, 0, marked) as session, conflicts_as_overtaken(layer, table):
            DeltaTable.forPath(session, self.path(layer, table)).delete(where)
        commit = self.commit_with_mark(layer, table, before, marked)
        return 0 if commit is None else int(commit.get("operationMetrics", {}).get("numDeletedRows", 0))

    def compact(self, layer: str, table: str, *, note: Mapping[str, Any]) -> Commit:
        """Put small files of a partition together and purge deleted rows, in one commit. Nothing to do: no commit."""
        before, marked = self.version(layer, table), with_mark(note)
        with self._session_of_its_own(None, 0, marked) as session, conflicts_as_overtaken(layer, table):
            session.conf.set("spark.databricks.delta.optimize.minFileSize", str(SMALL_FILE))
            session.conf.set("spark.databricks.delta.optimize.maxFileSize", str(LARGE_FILE))
            session.sql(f"OPTIMIZE delta.`{self.path(layer, table)}`").collect()
        commit = self.commit_with_mark(layer, table, before, marked)
        return Commit() if commit is None else commit_of(commit)

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
            raise overtaken(f"{layer}.{table}", f"{txn} at {reached}", f"below {version}")
        return True

    def _still(self, layer: str, table: str, based_on: int | None) -> int | None:
        """The version of the table, once it is known to be the one that a write was based on."""
        now = self.version(layer, table)
        if based_on is not None and now != based_on:
            raise overtaken(f"{layer}.{table}", f"version {now}", f"version {based_on}")
        return now

    def _written(
        self, layer: str, table: str, before: int | None, note: Mapping[str, Any], *, based_on: int | None = None
    ) -> Commit:  # fmt: skip
        """The commit that a write made. Delta drops a write without a word when its transaction was reached before.

        based_on: see `replace`. Delta begins to watch for other commits some moments after `_still` has looked: what
        came in between is brought back."""
        commit = self.commit_with_mark(layer, table, before, note)
        if commit is None:
            raise overtaken(f"{layer}.{table}", "no commit of this run", "one that carries its mark")
        if based_on is not None and (seen := commit.get("readVersion")) != based_on:
            DeltaTable.forPath(self.spark, self.path(layer, table)).restoreToVersion(commit["version"] - 1)
            raise overtaken(f"{layer}.{table}", f"version {seen}", f"version {based_on}")
        return commit_of(commit)


def _arrow(rows: Sequence[tuple[object, ...]], schema: StructType) -> pyarrow.Table:
    arrow = to_arrow_schema(schema, timezone="UTC")
    columns = list(zip(*rows, strict=True)) or [()] * len(arrow)
    arrays = [pyarrow.array(list(column), type=field.type) for column, field in zip(columns, arrow, strict=True)]
    return pyarrow.Table.from_arrays(arrays, schema=arrow)
