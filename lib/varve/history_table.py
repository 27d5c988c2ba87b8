"""One entity's log and versions in the lake: append, read, fold. `history` says what is right, here it is made cheap.

* `silver/<entity>_changes`, the log: append-only, partitioned by scope and `record`: `change`; `snapshot` (one row per
  accepted snapshot and scope); `waiting` (identities that have changes and no version: the next change reads their log).
* `silver/<entity>`, the versions: partitioned by scope and `is_open`. Its transaction `fold` is the version of the log
  that is folded in: the watermark, committed with the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from varve import history, snapshots
from varve.history import Policy
from varve.scope import SCOPE_COLUMNS
from varve.snapshots import Comparison, Snapshot
from varve.store import Commit, Loaded, Store

if TYPE_CHECKING:
    from varve.contract import Contract

FOLD: Final = "fold"

# A fold rewrites the touched scopes when they are small or when much of them changed; else it exchanges rows in one MERGE.
REWRITE_BELOW_ROWS: Final = 500_000
REWRITE_ABOVE_SHARE: Final = 0.2
GONE: Final = ("FILE_NOT_EXIST", "DELTA_VERSIONS_NOT_CONTIGUOUS", "DELTA_VERSION_NOT_FOUND", "LOG_FILE_NOT_FOUND")
MOST_TIES: Final = 1000  # statements that a fold reports
MOST_LITERALS: Final = 64  # scopes or key ranges that a predicate names one by one


@dataclass(frozen=True, slots=True)
class Fold:
    """What a fold did. version: of the versions table, None when nothing was folded; inserted, removed: [rows];
    rebuilt: why the versions were made anew from the whole log; quarantined: statements that contradict each other."""

    version: int | None = None
    inserted: int = 0
    removed: int = 0
    rebuilt: str | None = None
    quarantined: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What changes would do to the versions, nothing written. samples: up to ten version rows that would be new."""

    opened: int
    closed: int
    rewritten: int
    removed: int
    oldest: datetime | None  # the earliest valid_from of a row that would change
    samples: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class _Work:
    """By which rows the versions are behind the log.

    touched: (identity, is_late, has_delete, is_plain); removed: (identity, version_key, is_open) of versions that go;
    inserted: versions that come; late: identities that are computed from their whole log, None when there are none;
    stats: of the touched identities; held: persisted frames.
    """

    touched: DataFrame
    removed: DataFrame
    inserted: DataFrame
    late: DataFrame | None
    stats: Row
    held: tuple[DataFrame, ...]

    def release(self) -> None:
        for frame in self.held:
            frame.unpersist()


class HistoryTable:
    """The history of one entity."""

    layer: Final = "silver"

    def __init__(self, store: Store, entity: str, policy: Policy, *, unlisted: tuple[str, ...] = ()) -> None:
        """unlisted: key columns that must not enter statistics, because they are personal."""
        self.store, self.entity, self.policy = store, entity, policy
        self.log_table = f"{entity}_changes"
        self._unlisted = unlisted

    @classmethod
    def of(cls, store: Store, contract: Contract) -> HistoryTable:
        """The history of the entity that a silver contract describes."""
        personal = tuple(c.name for c in contract.columns if c.personal is not None)
        return cls(store, contract.table, Policy.of(contract), unlisted=personal)

    @property
    def spark(self) -> SparkSession:
        """The session of the store."""
        return self.store.spark

    def loaded(self) -> Loaded:
        """The manifests that the log holds: `manifest.id in table.loaded()`; no Spark job."""
        return self.store.loaded(self.layer, self.log_table)

    # --- reading ----------------------------------------------------------------------------------------------

    def log(self, *, version: int | None = None) -> DataFrame:
        """Every change that was accepted, in the shape that `history.timeline` takes."""
        return (
            self.store.read(self.layer, self.log_table, version=version)
            .filter("record = 'change'")
            .drop("record", "detail")
        )

    def versions(self, *, version: int | None = None) -> DataFrame:
        """The versions as of the last fold."""
        return self.store.read(self.layer, self.entity, version=version)

    def read(self) -> DataFrame:
        """The versions with every change applied, folded or not: never stale.

        The folded rows are scanned once and not shuffled; only the keys touched since the last fold are computed anew.
        """
        folded = self.store.version(self.layer, self.entity)  # the versions are pinned first, then the log
        head = self._head()
        if folded is None:
            return history.timeline(self.log(version=head), self.policy)
        versions = self.versions(version=folded)
        work = self._work(versions, self._watermark(), head)
        if work is None:
            return versions
        return self._kept(versions, work).unionByName(work.inserted)

    # --- appending --------------------------------------------------------------------------------------------

    def append(self, changes: DataFrame, *, txn: str) -> Commit:
        """Log changes under the name of their manifest; the second time is a no-op.

        Reads no history, but for the keys whose changes come from before a snapshot that is in the log already.
        changes: identity, payload and history.CHANGE_COLUMNS.
        """
        if txn in self.loaded():
            return Commit()
        again = snapshots.reassertions(self, changes)
        rows = self.as_log(changes) if again is None else self.as_log(changes).unionByName(self.as_log(again))
        return self.append_records(rows, txn=txn, note={"kind": "changes"})

    def compare(self, rows: DataFrame, snapshot: Snapshot, excluded: DataFrame | None = None) -> Comparison:
        """A snapshot beside the state before it; writes nothing. See `snapshots.compare`."""
        return snapshots.compare(self, rows, snapshot, excluded)

    def append_snapshot(self, comparison: Comparison) -> Commit:
        """Log a snapshot under the name of its manifest; the second time is a no-op."""
        return snapshots.append(self, comparison)

    def append_records(self, rows: DataFrame, *, txn: str, note: Mapping[str, Any], version: int = 1) -> Commit:
        """Log rows of any record kind; rows: the columns of the log."""
        return self.store.append(
            rows, self.layer, self.log_table, txn=txn, version=version, note=note,
            partition_by=(*SCOPE_COLUMNS, "record"),
            properties={
                "delta.enableChangeDataFeed": "true",
                "delta.dataSkippingStatsColumns": ",".join([*self._listed_keys(), "valid_from", "recorded_at"]),
            },
        )  # fmt: skip

    def as_log(self, changes: DataFrame) -> DataFrame:
        """Changes as rows of the log."""
        p = self.policy
        return changes.select(
            *p.identity, *p.payload, *history.CHANGE_COLUMNS,
            F.lit(None).cast("string").alias("detail"), F.lit("change").alias("record"),
        )  # fmt: skip

    def log_schema(self, like: DataFrame | None) -> T.StructType:
        """The schema of the log's rows; `like` has the entity's columns of a log that is not there yet."""
        if like is None or self.store.exists(self.layer, self.log_table):
            logged = {f.name: f for f in self.store.read(self.layer, self.log_table).schema}
        else:
            logged = {}
        own = {} if like is None else {f.name: f for f in like.schema}
        clock = {"valid_from": T.TimestampType(), "recorded_at": T.TimestampType(), "sequence": T.LongType()}
        p = self.policy
        names = [*p.identity, *p.payload, *history.CHANGE_COLUMNS, "detail", "record"]
        return T.StructType(
            [logged.get(n) or own.get(n) or T.StructField(n, clock.get(n, T.StringType())) for n in names]
        )

    # --- folding ----------------------------------------------------------------------------------------------

    def fold(self) -> Fold:
        """Bring the versions up to the log in one commit that carries the watermark. Nothing new: no commit, no job."""
        head, mark = self._head(), self._watermark()
        if head is None or head == mark:
            return Fold()
        if mark is None:
            return self.rebuild("there were no versions yet", commit_reason=False)
        versions = self.versions()
        try:
            work = self._work(versions, mark, head)
        except PySparkException as error:
            if not any(sign in str(error) for sign in GONE):
                raise
            return self.rebuild(f"the changes since version {mark} of the log are gone: {_first_line(error)}")
        if work is None:
            return Fold()
        work = replace(work, inserted=work.inserted.persist(), removed=work.removed.persist())
        try:
            head = self._remember_waiting(work, head)
            tied = self._tied(work)
            removed, inserted = work.removed.count(), work.inserted.count()
            commit = self._write(versions, work, head)
            return Fold(version=commit.version, inserted=inserted, removed=removed, quarantined=tied)
        finally:
            work.inserted.unpersist()
            work.removed.unpersist()
            work.release()

    def rebuild(self, reason: str, *, commit_reason: bool = True) -> Fold:
        """Make the versions anew from the whole log, in one commit."""
        head = self._head()
        assert head is not None
        log = self.log(version=head)
        doubtful = history.touched(log, self.policy).filter("has_delete or not is_plain").persist()
        tied: tuple[Row, ...] = ()
        if not doubtful.isEmpty():  # only such identities can contradict themselves or end without a version
            logged = history.of_identities(log, doubtful, self.policy)
            tied = tuple(history.quarantined(logged, self.policy).take(MOST_TIES))
            head = self._mark_waiting(doubtful, history.timeline(logged, self.policy), head)
        doubtful.unpersist()
        versions = history.timeline(log, self.policy).sortWithinPartitions(*self.policy.identity)
        mark = self._watermark()
        commit = self.store.replace(
            versions, self.layer, self.entity,
            txn=FOLD if mark is None or mark < head else None, version=head,
            partition_by=(*SCOPE_COLUMNS, "is_open"),
            properties=self._properties(), note=self._note(head, rebuilt=reason),
        )  # fmt: skip
        return Fold(
            version=commit.version, inserted=commit.rows, rebuilt=reason if commit_reason else None, quarantined=tied
        )

    def plan(self, changes: DataFrame) -> Plan:
        """What appending and folding `changes` would do; nothing is written."""
        versions = self.read()
        work = self._work_of(versions, changes.persist(), self.log().unionByName(changes.select(*self.log().columns)))
        keys = [*self.policy.identity, "version_key"]
        old = of_keys(versions, work.removed, keys)
        payload = [c for c in versions.columns if c not in ("last_position",)]
        new = work.inserted.select(payload).exceptAll(old.select(payload)).persist()
        gone = old.select(payload).exceptAll(work.inserted.select(payload)).persist()
        counts = new.join(gone.select(*keys, F.lit(True).alias("was")), keys, "left").agg(
            F.count(F.when(F.col("was").isNull(), 1)).alias("opened"),
            F.count(F.when(F.col("was") & F.col("valid_to").isNotNull(), 1)).alias("closed"),
            F.count(F.when(F.col("was") & F.col("valid_to").isNull(), 1)).alias("rewritten"),
            F.min("valid_from").alias("oldest"),
        ).first()  # fmt: skip
        assert counts is not None
        removed = gone.join(new, keys, "left_anti").count()
        samples = tuple(new.orderBy(*self.policy.identity, "valid_from").take(10))
        work.release()
        return Plan(counts.opened, counts.closed, counts.rewritten, removed, counts.oldest, samples)

    def audit(self) -> DataFrame:
        """What is wrong with the folded versions, see `history.audit`."""
        head = self._watermark()
        return history.audit(self.versions(), self.log(version=head), self.policy)

    def repair(self) -> Fold:
        """Mend exactly the keys that the audit finds, from the log, in one commit."""
        versions, head = self.versions(), self._watermark()
        bad = self.audit().select(*self.policy.identity).distinct().persist()
        if bad.isEmpty():
            return Fold()
        log = history.of_identities(self.log(version=head), bad, self.policy)
        old = history.of_identities(versions, bad, self.policy)
        rows = self._kept_without(versions, bad).unionByName(history.timeline(log, self.policy))
        removed, inserted = old.count(), history.timeline(log, self.policy).count()
        scopes = bad.select(*SCOPE_COLUMNS).distinct().collect()
        commit = self.store.replace(
            rows, self.layer, self.entity, where=_in_scopes(scopes), note={"kind": "repair", "watermark": head}
        )
        bad.unpersist()
        return Fold(version=commit.version, inserted=inserted, removed=removed)

    # --- inside: what is behind -------------------------------------------------------------------------------

    def _head(self) -> int | None:
        return self.store.version(self.layer, self.log_table)

    def _watermark(self) -> int | None:
        return self.store.transaction(self.layer, self.entity, FOLD)

    def _work(self, versions: DataFrame, mark: int | None, head: int | None) -> _Work | None:
        """What folding the log from `mark` to `head` takes; None when no change lies between."""
        if mark is None or head is None or mark >= head:
            return None
        notes = self.store.notes(self.layer, self.log_table, after=mark)
        if notes is not None and not any(n is None or n.get("kind") == "changes" for n in notes):
            return None
        pending = self.store.added(self.layer, self.log_table, after=mark, to=head).filter("record = 'change'")
        return self._work_of(versions, pending.drop("record", "detail").persist(), self.log(version=head))

    def _work_of(self, versions: DataFrame, pending: DataFrame, log: DataFrame) -> _Work:
        p, names = self.policy, list(self.policy.identity)
        touched = history.touched(pending, p).persist()
        stats = self._stats(touched)
        opened = versions.filter("is_open").filter(self._pruned(stats))
        found = opened.join(F.broadcast(touched.select(*names)), names, "left_semi").persist()
        position = found.select(*names, "last_position", F.lit(True).alias("is_known"))
        waiting = self._waiting()
        kinds = touched.join(position, names, "left")
        is_waiting: Column = F.lit(False)
        if waiting is not None:
            kinds = kinds.join(waiting.withColumn("is_waiting", F.lit(True)), names, "left")
            is_waiting = F.col("is_waiting").isNotNull()
        is_new = F.col("is_known").isNull() & F.col("is_plain") & ~is_waiting
        is_late = ~(is_new | F.coalesce(history.continues(p), F.lit(False)))
        kinds = kinds.select(*names, is_late.alias("is_late"), "is_plain", "has_delete").persist()
        late = kinds.filter("is_late").select(*names)
        on_time = kinds.filter("not is_late").select(*names)
        inserted = history.continuation(
            history.of_identities(found, on_time, p), history.of_identities(pending, on_time, p), p
        )
        removed = history.of_identities(found, on_time, p).select(*names, "version_key", "is_open")
        any_late = not late.isEmpty()
        if any_late:
            inserted = inserted.unionByName(history.timeline(history.of_identities(log, late, p), p))
            old = history.of_identities(versions, late, p).select(*names, "version_key", "is_open")
            removed = removed.unionByName(old)
        held = (pending, touched, found, kinds)
        return _Work(kinds, removed, inserted, late if any_late else None, stats, held)

    def _stats(self, touched: DataFrame) -> Row:
        """Of the touched identities: scopes and the span of the first key, for predicates that prune files."""
        key = self.policy.keys[0]
        row = touched.agg(
            F.count("*").alias("identities"),
            F.collect_set(F.struct(*SCOPE_COLUMNS)).alias("scopes"),
            F.min(key).alias("lowest"),
            F.max(key).alias("highest"),
        ).first()
        assert row is not None
        return row

    def _pruned(self, stats: Row, prefix: str = "") -> Column:
        """A predicate of literals that holds for every touched row, so that Delta can leave files out."""
        key = F.col(f"{prefix}{self.policy.keys[0]}")
        pruned = key.between(F.lit(stats.lowest), F.lit(stats.highest)) if stats.identities else F.lit(False)
        if 0 < len(stats.scopes) <= MOST_LITERALS:
            for column in SCOPE_COLUMNS:
                pruned &= F.col(f"{prefix}{column}").isin(sorted({s[column] for s in stats.scopes}))
        return pruned

    def _kept(self, versions: DataFrame, work: _Work) -> DataFrame:
        """The folded rows that stay: not of late keys, and not the open rows of keys that go on."""
        names = list(self.policy.identity)
        marked = versions.join(F.broadcast(work.touched), names, "left_outer")
        stays = F.col("is_late").isNull() | (~F.col("is_late") & ~F.col("is_open"))
        return marked.filter(stays).select(*versions.columns)

    def _kept_without(self, versions: DataFrame, identities: DataFrame) -> DataFrame:
        return history.of_identities(versions, identities, self.policy, keep=False)

    def _tied(self, work: _Work) -> tuple[Row, ...]:
        if work.late is None:
            return ()
        ties = history.quarantined(history.of_identities(self.log(), work.late, self.policy), self.policy)
        return tuple(ties.take(MOST_TIES))

    # --- inside: identities that wait -------------------------------------------------------------------------

    def _waiting(self) -> DataFrame | None:
        """Identities with changes and no version: a later change of theirs must read their log. None: there are none."""
        if not self.store.rows(self.layer, self.log_table, record="waiting"):
            return None
        marks = self.store.read(self.layer, self.log_table).filter("record = 'waiting'")
        return marks.select(*self.policy.identity).distinct()

    def _remember_waiting(self, work: _Work, head: int) -> int:
        """Mark touched identities that end without a version, before the fold; returns the log's new head."""
        doubtful = work.touched.filter("has_delete or not is_plain or is_late")
        return self._mark_waiting(doubtful, work.inserted, head)

    def _mark_waiting(self, identities: DataFrame, versions: DataFrame, head: int) -> int:
        """Mark those of `identities` that have none of `versions`. A mark too many costs time, one too few is wrong."""
        names = list(self.policy.identity)
        waiting = identities.select(*names).join(versions.select(*names), names, "left_anti").persist()
        try:
            if waiting.isEmpty():
                return head
            schema = self.log_schema(None)
            others = [F.lit(None).cast(f.dataType).alias(f.name) for f in schema if f.name not in names]
            rows = waiting.select(*names, *others).withColumn("record", F.lit("waiting"))
            commit = self.append_records(rows, txn="waiting", version=head, note={"kind": "waiting"})
            return head if commit.version is None else commit.version
        finally:
            waiting.unpersist()

    # --- inside: writing --------------------------------------------------------------------------------------

    def _write(self, versions: DataFrame, work: _Work, head: int) -> Commit:
        note = self._note(head)
        size = sum(
            self.store.rows(self.layer, self.entity, **dict(zip(SCOPE_COLUMNS, scope, strict=True)))
            for scope in work.stats.scopes
        )
        if size < REWRITE_BELOW_ROWS or work.stats.identities > REWRITE_ABOVE_SHARE * size:
            rows = self._kept(versions, work).unionByName(work.inserted)
            rows = rows.coalesce(1) if size < REWRITE_BELOW_ROWS else rows
            where = _in_scopes(work.stats.scopes)
            return self.store.replace(rows, self.layer, self.entity, where=where, txn=FOLD, version=head, note=note)
        return self.store.exchange(
            self._exchanged(work), self.layer, self.entity,
            on=self._on(work), when_insert="new._old_key is null",
            insert={c: f"new.{c}" for c in versions.columns},
            txn=FOLD, version=head, note=note,
        )  # fmt: skip

    def _exchanged(self, work: _Work) -> DataFrame:
        """The source of the MERGE: rows that name an old version, and the new versions, whose `_old_key` is null."""
        names = set(work.removed.columns) - {"version_key"}
        old = work.removed.select(
            F.col("version_key").alias("_old_key"),
            *[
                (F.col(f.name) if f.name in names else F.lit(None).cast(f.dataType)).alias(f.name)
                for f in work.inserted.schema
            ],
        )
        return old.unionByName(work.inserted.select(F.lit(None).cast("bigint").alias("_old_key"), "*"))

    def _on(self, work: _Work) -> Column:
        on = (F.col("old.version_key") == F.col("new._old_key")) & self._pruned(work.stats, "old.")
        for name in self.policy.keys:
            on &= F.col(f"old.{name}") == F.col(f"new.{name}")
        return on if work.late is not None else on & (F.col("old.is_open") == F.lit(True))

    def _listed_keys(self) -> list[str]:
        return [k for k in self.policy.keys if k not in self._unlisted]

    def _properties(self) -> dict[str, str]:
        return {
            "delta.enableDeletionVectors": "true",
            "delta.dataSkippingStatsColumns": ",".join([*self._listed_keys(), "valid_from", "valid_to", "version_key"]),
        }

    def _note(self, head: int, **more: str) -> dict[str, Any]:
        return {"kind": "fold", "watermark": head, **more}


def of_keys(frame: DataFrame, few: DataFrame, names: list[str]) -> DataFrame:
    """The rows of `frame` that share the columns `names` with a row of `few`."""
    return frame.join(F.broadcast(few.select(*names)), names, "left_semi")


def _in_scopes(scopes: list[Row]) -> str:
    return " or ".join(f"(scope_country = '{s.scope_country}' and scope_entity = '{s.scope_entity}')" for s in scopes)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
