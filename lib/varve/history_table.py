"""One entity's log and versions in the lake: append, read, fold. `history` says what is right, here it is made cheap.

* `silver/<entity>_changes`, the log: append-only, partitioned by scope and `record`: `change`; `snapshot` (one row per
  accepted snapshot and scope); `excluded` (identities that a snapshot holds and says nothing valid about); `waiting`
  (identities that have changes and no version: the next change reads their log).
* `silver/<entity>`, the versions: partitioned by scope and `is_open`. Its transaction `fold` is the version of the log
  that is folded in: the watermark, committed with the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pyspark.sql import Column, DataFrame, Observation, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from varve import history, snapshots
from varve.errors import ContractError, StorageError
from varve.history import Policy
from varve.privacy import silver_schema
from varve.scope import SCOPE_COLUMNS
from varve.snapshots import STATISTICS_STEP, Comparison, Snapshot
from varve.store import Commit, Loaded, Store

if TYPE_CHECKING:
    from varve.contract import Contract

FOLD: Final = "fold"
ROLES: Final = {"keys": "a key", "tracked": "tracked", "overwritten": "overwritten"}  # of columns: in notes, to people

# A fold rewrites the touched scopes when they are small or when much of them changes, else it exchanges rows by MERGE.
REWRITE_BELOW_ROWS: Final = 500_000
REWRITE_ABOVE_SHARE: Final = 0.2
BROADCAST_BELOW_ROWS: Final = 1_000_000  # of a MERGE's source
MOST_TIES: Final = 1000  # statements that a fold reports
MOST_LITERALS: Final = 64  # scopes or key ranges that a predicate names one by one

# That an integer may need.
_DIGITS: Final[Mapping[type[T.DataType], int]] = {T.ByteType: 3, T.ShortType: 5, T.IntegerType: 10, T.LongType: 19}


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
class _Behind:
    """The changes that are in the log and not in the versions, as the log's files tell; no job was needed.

    scopes: (country, entity); lowest, highest: bounds of the first key, None when unknown; is_later: every one of them
    is later than all that is folded, so no key can be late.
    """

    files: tuple[Mapping[str, Any], ...]
    head: int
    scopes: tuple[tuple[str, str], ...]
    rows: int
    lowest: object = None
    highest: object = None
    is_later: bool = False


@dataclass(frozen=True, slots=True)
class _Work:
    """What changes in the versions.

    kept: the rows that stay, of all scopes; inserted: versions that come; removed: (identity, version_key, is_open) of
    those that go; whole_keys: identities made anew from their whole log, None when there are none; touched: all
    identities, with how they are folded; held: persisted frames.
    """

    kept: DataFrame
    inserted: DataFrame
    removed: DataFrame | None = None
    whole_keys: DataFrame | None = None
    touched: DataFrame | None = None
    held: tuple[DataFrame, ...] = ()


class HistoryTable:
    """The history of one entity."""

    layer: Final = "silver"

    def __init__(
        self,
        store: Store,
        entity: str,
        policy: Policy,
        *,
        schema: T.StructType | None = None,
        unlisted: tuple[str, ...] = (),
    ) -> None:
        """schema: of keys and payload by the contract, None: as the log has it. unlisted: key columns that must not
        enter statistics, because they are personal."""
        self.store, self.entity, self.policy = store, entity, policy
        self.log_table = f"{entity}_changes"
        self._schema, self._unlisted = schema, unlisted
        self._knows_keys = False  # whether the log's keys are those of the policy
        self._last_read: tuple[tuple[int, int], _Work] | None = None  # and the versions and log that it was of

    @classmethod
    def of(cls, store: Store, contract: Contract) -> HistoryTable:
        """The history of the entity that a silver contract describes."""
        personal = tuple(c.name for c in contract.columns if c.personal is not None)
        return cls(store, contract.table, Policy.of(contract), schema=silver_schema(contract), unlisted=personal)

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
        return self.records(version=version).filter("record = 'change'").drop("record")

    def records(self, *, version: int | None = None) -> DataFrame:
        """All rows of the log, of every kind of `record`."""
        return self._shaped(self.store.read(self.layer, self.log_table, version=version))

    def versions(self, *, version: int | None = None) -> DataFrame:
        """The versions as of the last fold."""
        return self._shaped(self.store.read(self.layer, self.entity, version=version))

    def _shaped(self, rows: DataFrame) -> DataFrame:
        """Rows as the contract has them now: a column that came later is null, one that went is left out."""
        self._refuse_other_keys()
        clock = [c for c in rows.columns if c in (*history.CHANGE_COLUMNS, *history.VERSION_COLUMNS, "record")]
        types = {f.name: f.dataType for f in self._schema or ()}
        own = [
            self._as_contracted(rows.schema[c]) if c in rows.columns else F.lit(None).cast(types[c]).alias(c)
            for c in (*self.policy.keys, *self.policy.payload)
        ]
        return rows.select(*SCOPE_COLUMNS, *own, *clock)

    def _as_contracted(self, field: T.StructField) -> Column:
        """A column in the type of the contract; raises ContractError when that cannot hold what the column holds.

        A float becomes the double of its shortest text, which is what its source said: 0.1 stays 0.1."""
        was = field.dataType
        now = next((f.dataType for f in self._schema or () if f.name == field.name), was)
        if not holds(now, was):
            raise ContractError(
                f"the type of {field.name} cannot become {now.simpleString()}: values would be lost or change",
                where=f"silver.{self.entity}", found=was.simpleString(),
                expected=f"{was.simpleString()}, or a wider type",
                remedy="Keep the column as it is, and add one of the new type under another name.",
            )  # fmt: skip
        column = F.col(f"`{field.name}`")
        if isinstance(was, T.FloatType) and isinstance(now, T.DoubleType):
            column = column.cast("string")
        return column.cast(now).alias(field.name)

    def read(self) -> DataFrame:
        """The versions with every change applied, folded or not: never stale.

        The folded rows are scanned once and not shuffled; only the keys touched since the last fold are computed anew.
        """
        folded = self.store.version(self.layer, self.entity)  # the versions are pinned first, then the log
        behind = self._behind()
        if folded is None:
            return history.timeline(self.log(), self.policy)
        versions = self.versions(version=folded)
        if self._outgrown():
            return history.timeline(self.log(version=behind.head if behind else None), self.policy)
        if behind is None:
            return versions
        work = self._work_read(versions, behind, folded)
        return work.kept.unionByName(work.inserted)

    def _work_read(self, versions: DataFrame, behind: _Behind, folded: int) -> _Work:
        """What `read` computes; the same frames as long as nothing was appended or folded, for they hold memory."""
        state = (folded, behind.head)
        if self._last_read is not None:
            known, work = self._last_read
            if known == state:
                return work
            for frame in work.held:
                frame.unpersist()
        small = self._is_small(behind) or not self._is_marked()
        work = self._small_work(versions, behind) if small else self._large_work(versions, behind)
        self._last_read = state, work
        return work

    # --- appending --------------------------------------------------------------------------------------------

    def append(self, changes: DataFrame, *, txn: str) -> Commit:
        """Log changes under the name of their manifest; the second time is a no-op.

        Reads no history, but for the keys whose changes come from before a snapshot that is in the log already.
        changes: identity, payload and history.CHANGE_COLUMNS.
        """
        if txn in self.loaded():
            return Commit()
        changes = changes if self._schema is None else self._shaped(changes)
        self.widen_log()
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
            rows, self.layer, self.log_table, txn=txn, version=version, note={**note, "keys": list(self.policy.keys)},
            partition_by=(*SCOPE_COLUMNS, "record"),
            properties=self._log_properties(),
        )  # fmt: skip

    def as_log(self, changes: DataFrame) -> DataFrame:
        """Changes as rows of the log."""
        p = self.policy
        return changes.select(
            *p.identity, *p.payload, *history.CHANGE_COLUMNS,
            F.lit(None).cast("string").alias("detail"), F.lit("change").alias("record"),
        )  # fmt: skip

    def _refuse_other_keys(self) -> None:
        """Raise ContractError when the log speaks of other keys than the contract: no row of it could be placed."""
        if self._knows_keys:
            return
        logged = self.store.last_note(self.layer, self.log_table, "changes", "snapshot").get("keys")
        if logged is not None and sorted(logged) != sorted(self.policy.keys):
            raise ContractError(
                "the key of an entity cannot change: what its history says is said of other keys",
                where=f"silver.{self.entity}", found=", ".join(self.policy.keys), expected=", ".join(logged),
                remedy="Give the entity with the new key another name, and load it from raw.",
            )  # fmt: skip
        self._knows_keys = logged is not None

    def widen_log(self) -> None:
        """Rewrite the log when the contract widened a type: its files carry one type per column. Rare; one commit."""
        if self._schema is None or not self.store.exists(self.layer, self.log_table):
            return
        logged = self.store.read(self.layer, self.log_table)
        types = {f.name: f.dataType for f in self._schema}
        wider = [f for f in logged.schema if types.get(f.name, f.dataType) != f.dataType]
        if not wider:
            return
        self.store.replace(
            logged.withColumns({f.name: self._as_contracted(f) for f in wider}),
            self.layer, self.log_table, partition_by=(*SCOPE_COLUMNS, "record"),
            properties=self._log_properties(), note={"kind": "widened", "columns": sorted(f.name for f in wider)},
        )  # fmt: skip

    def log_schema(self, like: DataFrame | None) -> T.StructType:
        """The schema of the log's rows; `like` has the entity's columns of a log that is not there yet."""
        if like is None or self.store.exists(self.layer, self.log_table):
            logged = {f.name: f for f in self.store.read(self.layer, self.log_table).schema}
        else:
            logged = {}
        stated = [*(like.schema if like is not None else ()), *(self._schema or ())]
        own = {f.name: T.StructField(f.name, f.dataType) for f in stated}  # all nullable
        clock = {"valid_from": T.TimestampType(), "recorded_at": T.TimestampType(), "sequence": T.LongType()}
        p = self.policy
        names = [*p.identity, *p.payload, *history.CHANGE_COLUMNS, "detail", "record"]
        return T.StructType(
            [logged.get(n) or own.get(n) or T.StructField(n, clock.get(n, T.StringType())) for n in names]
        )

    # --- folding ----------------------------------------------------------------------------------------------

    def fold(self) -> Fold:
        """Bring the versions up to the log in one commit that carries the watermark. Nothing new: no commit, no job."""
        if self._head() is None:
            return Fold()
        if self._watermark() is None:
            return self.rebuild()
        try:
            behind = self._behind()
        except StorageError as error:  # the log was cleaned up behind the watermark
            return self.rebuild(f"what was folded cannot be told from what was not: {error}")
        if reason := self._outgrown():
            return self.rebuild(reason)
        if behind is None:
            return Fold()
        return self._fold_small(behind) if self._is_small(behind) else self._fold_large(behind)

    def is_folded(self) -> bool:
        """Whether the versions are what the log gives under the contract; no Spark job."""
        head = self._head()
        return head is None or (head == self._watermark() and not self._outgrown())

    def rebuild(self, reason: str | None = None) -> Fold:
        """Make the versions anew from the whole log, in one commit. reason: why, when it is no first load."""
        head, mark = self._head(), self._watermark()
        assert head is not None
        log, ties, note = self.log(version=head), Observation(), {**self._note(head), "rebuilt": reason}
        if self.store.rows(self.layer, self.log_table, record="change") >= REWRITE_BELOW_ROWS:
            note["marked"] = self._mark_all(log, head)
        versions = history.timeline(log, self.policy, ties=ties).sortWithinPartitions(*self.policy.identity)
        commit = self.store.replace(
            versions, self.layer, self.entity,
            txn=FOLD if mark is None or mark < head else None, version=head,
            partition_by=(*SCOPE_COLUMNS, "is_open"), properties=self._properties(), note=note,
        )  # fmt: skip
        return Fold(commit.version, inserted=commit.rows, rebuilt=reason, quarantined=self._tied(ties, log))

    def _fold_small(self, behind: _Behind) -> Fold:
        """Rewrite the touched scopes, their touched keys computed anew from the log: one job."""
        versions, ties, came, stayed = self.versions(), Observation(), Observation(), Observation()
        work = self._small_work(versions, behind, ties=ties)
        kept = work.kept.filter(_in_scopes(behind.scopes)).observe(stayed, F.count("*").alias("rows"))
        rows = kept.unionByName(work.inserted.observe(came, F.count("*").alias("rows"))).coalesce(1)
        before = self._rows(behind.scopes)
        commit = self.store.replace(
            rows, self.layer, self.entity, where=_in_scopes(behind.scopes),
            txn=FOLD, version=behind.head, note=self._note(behind.head),
        )  # fmt: skip
        tied = self._tied(ties, self.log(version=behind.head))
        return Fold(commit.version, inserted=came.get["rows"], removed=before - stayed.get["rows"], quarantined=tied)

    def _fold_large(self, behind: _Behind) -> Fold:
        """Exchange the rows that change, in one MERGE; or rewrite the touched scopes when much of them changes."""
        head = behind.head
        if not self._is_marked():
            self._mark_all(self.log(version=self._watermark()), head, self.versions())
        versions = self.versions()
        work = self._large_work(versions, behind, whole=True)
        assert work.removed is not None
        assert work.touched is not None
        # Used several times, with a deep plan: computed once, and cut off from where it came from.
        exchanged = self._exchanged(work.inserted, work.removed).localCheckpoint()
        try:
            inserted = exchanged.filter("_old_key is null").drop("_old_key")
            doubtful = work.touched.filter("has_delete or not is_plain or is_late")
            self._mark_waiting(doubtful, inserted, head, txn="waiting")
            counts = exchanged.agg(F.count("_old_key").alias("removed"), F.count("*").alias("all")).first()
            assert counts is not None
            note = {**self._note(head), "marked": True}
            if counts.removed > REWRITE_ABOVE_SHARE * self._rows(behind.scopes):
                rows = work.kept.filter(_in_scopes(behind.scopes)).unionByName(inserted)
                rows = rows.sortWithinPartitions(*self.policy.identity)
                where = _in_scopes(behind.scopes)
                commit = self.store.replace(
                    rows, self.layer, self.entity, where=where, txn=FOLD, version=head, note=note
                )
            else:
                commit = self.store.exchange(
                    F.broadcast(exchanged) if counts["all"] <= BROADCAST_BELOW_ROWS else exchanged,
                    self.layer, self.entity,
                    on=self._on(behind, work), when_insert="new._old_key is null",
                    insert={c: f"new.{c}" for c in versions.columns}, txn=FOLD, version=head, note=note,
                )  # fmt: skip
            tied: tuple[Row, ...] = ()
            if work.whole_keys is not None:
                log = history.of_identities(self.log(version=head), work.whole_keys, self.policy)
                tied = tuple(history.quarantined(log, self.policy).take(MOST_TIES))
            return Fold(commit.version, counts["all"] - counts.removed, counts.removed, quarantined=tied)
        finally:
            for frame in work.held:
                frame.unpersist()

    def plan(self, changes: DataFrame) -> Plan:
        """What appending and folding `changes` would do; nothing is written."""
        p = self.policy
        touched = changes.select(*p.identity).distinct()
        stated = history.of_identities(self.log(), touched, p).unionByName(changes.select(*self.log().columns))
        columns = [*p.identity, *p.payload, *(c for c in history.VERSION_COLUMNS if c != "last_position")]
        new = history.timeline(stated, p).select(columns).persist()
        old = history.of_identities(self.read(), touched, p).select(columns).persist()
        come, go = new.exceptAll(old).persist(), old.exceptAll(new).persist()
        key = [*p.identity, "valid_from"]
        kinds = come.join(go.select(*key, F.lit(True).alias("was")), key, "left").agg(
            F.count(F.when(F.col("was").isNull(), 1)).alias("opened"),
            F.count(F.when(F.col("was") & F.col("valid_to").isNotNull(), 1)).alias("closed"),
            F.count(F.when(F.col("was") & F.col("valid_to").isNull(), 1)).alias("rewritten"),
            F.min("valid_from").alias("oldest"),
        )  # fmt: skip
        counts, removed = kinds.first(), go.join(come, key, "left_anti").count()
        assert counts is not None
        samples = tuple(come.orderBy(*key).take(10))
        for frame in (new, old, come, go):
            frame.unpersist()
        return Plan(counts.opened, counts.closed, counts.rewritten, removed, counts.oldest, samples)

    def audit(self) -> DataFrame:
        """What is wrong with the folded versions, see `history.audit`."""
        return history.audit(self.versions(), self.log(version=self._watermark()), self.policy)

    def repair(self) -> Fold:
        """Mend exactly the keys that the audit finds, from the log, in one commit."""
        if reason := self._outgrown():
            return self.rebuild(reason)
        p, versions, mark = self.policy, self.versions(), self._watermark()
        bad = self.audit().select(*p.identity).distinct().persist()
        try:
            scopes = tuple((s.scope_country, s.scope_entity) for s in bad.select(*SCOPE_COLUMNS).distinct().collect())
            if not scopes:
                return Fold()
            mended = history.timeline(history.of_identities(self.log(version=mark), bad, p), p).persist()
            kept = history.of_identities(versions, bad, p, keep=False).filter(_in_scopes(scopes))
            removed, inserted = history.of_identities(versions, bad, p).count(), mended.count()
            note = {"kind": "repair", "watermark": mark}
            commit = self.store.replace(
                kept.unionByName(mended), self.layer, self.entity, where=_in_scopes(scopes), note=note
            )
            mended.unpersist()
            return Fold(commit.version, inserted, removed)
        finally:
            bad.unpersist()

    # --- inside: what is behind -------------------------------------------------------------------------------

    def _outgrown(self) -> str | None:
        """Why the folded rows cannot be gone on with: the contract has other columns or types than at the fold.

        A column that the log did not have at the fold is no reason: it is null in every row before it, and a null adds
        nothing to a hash. One that the log had, untracked or out of the contract, is a reason.
        """
        note = self.store.last_note(self.layer, self.entity, "fold")
        if "tracked" not in note or self._schema is None:
            return None
        reasons = []
        was, now = {role: note.get(role, {}) for role in ROLES}, self._columns()
        for role, title in ROLES.items():
            reasons += [f"column {c} is no longer {title}" for c in sorted(was[role].keys() - now[role].keys())]
            kept = sorted(was[role].keys() & now[role].keys())
            reasons += [
                f"the type of {c} from {was[role][c]} to {now[role][c]}" for c in kept if was[role][c] != now[role][c]
            ]
        if come := {c for columns in now.values() for c in columns} - {c for columns in was.values() for c in columns}:
            logged = self.store.columns(self.layer, self.log_table, version=self._watermark())
            reasons += [f"column {c} is back" for c in sorted(come & set(logged))]
        return "the contract changed: " + ", ".join(reasons) if reasons else None

    def _columns(self) -> dict[str, dict[str, str]]:
        """The types of the columns of each role."""
        types = {f.name: f.dataType.simpleString() for f in self._schema or ()}
        p = self.policy
        return {
            role: {c: types.get(c, "") for c in names}
            for role, names in zip(ROLES, (p.keys, p.attributes, p.overwritten), strict=True)
        }

    def _note(self, head: int) -> dict[str, Any]:
        return {"kind": "fold", "watermark": head, **self._columns()}

    def _head(self) -> int | None:
        return self.store.version(self.layer, self.log_table)

    def _watermark(self) -> int | None:
        return self.store.transaction(self.layer, self.entity, FOLD)

    def _behind(self) -> _Behind | None:
        """What the versions lack, None when nothing."""
        head, mark = self._head(), self._watermark()
        if head is None or mark is None or head <= mark:
            return None
        known = self.store.files(self.layer, self.log_table, version=mark)
        seen = {file["path"] for file in known}
        changes = [f for f in self.store.files(self.layer, self.log_table, version=head) if _holds_changes(f)]
        files = tuple(file for file in changes if file["path"] not in seen)
        if not files:
            return None
        scopes = tuple(sorted({_scope_of(file) for file in files}))
        folded = [file for file in known if _holds_changes(file) and _scope_of(file) in scopes]
        key = self.policy.keys[0]
        lows: list[Any] = [f.get(f"min.{key}") for f in files]
        highs: list[Any] = [f.get(f"max.{key}") for f in files]
        bounded = not any(value is None or isinstance(value, datetime) for value in (*lows, *highs))
        return _Behind(
            files=files, head=head, scopes=scopes, rows=sum(f["num_records"] for f in files),
            lowest=min(lows) if bounded else None, highest=max(highs) if bounded else None,
            is_later=self.policy.domain == "time" and _is_later(files, folded),
        )  # fmt: skip

    def _is_small(self, behind: _Behind) -> bool:
        return self._rows(behind.scopes) < REWRITE_BELOW_ROWS

    def _rows(self, scopes: Sequence[tuple[str, str]]) -> int:
        """Versions in these scopes, by the statistics of the files."""
        files = self.store.files(self.layer, self.entity)
        return sum(f["num_records"] for f in files if _scope_of(f) in scopes)

    def _pending(self, behind: _Behind) -> DataFrame:
        return self._shaped(self.store.read_files(self.layer, self.log_table, behind.files)).drop("record")

    def _small_work(self, versions: DataFrame, behind: _Behind, ties: Observation | None = None) -> _Work:
        """Every touched key anew from its whole log. No job is run."""
        p = self.policy
        touched = self._pending(behind).select(*p.identity).distinct()
        log = self.log(version=behind.head).filter(_in_scopes(behind.scopes))
        kept = history.of_identities(versions, touched, p, keep=False)
        return _Work(kept, history.timeline(history.of_identities(log, touched, p), p, ties=ties))

    def _large_work(self, versions: DataFrame, behind: _Behind, *, whole: bool = False) -> _Work:
        """Keys that go on from their open row; the others anew from their whole log.

        whole: the open rows of the touched keys are kept with all their columns, for a fold; else they are read where
        they are needed, so that a reader's own columns and filters reach the files.
        """
        p, names = self.policy, list(self.policy.identity)
        pending = self._pending(behind).persist()
        touched = history.touched(pending, p).persist()
        opened = versions.filter("is_open").filter(self._pruned(behind))
        opened = opened.alias("row").join(*self._on_identity(touched, behind), "left_semi")
        opened = opened.persist() if whole else opened
        held = (pending, touched, opened) if whole else (pending, touched)
        place = [*names, "version_key", "is_open"]
        if behind.is_later and touched.filter("not is_plain").isEmpty():
            kinds = touched.select(*names, F.lit(False).alias("is_late"), "is_plain", "has_delete")
            inserted = history.continuation(opened, pending, p)
            return _Work(self._kept(versions, kinds, behind), inserted, opened.select(place), None, kinds, held)

        found = opened.select(*place, "last_position").persist()
        kinds = self._kinds(touched, found).persist()
        held = (*held, found, kinds)
        on_time, late = kinds.filter("not is_late"), kinds.filter("is_late")
        going_on = history.of_identities(opened, on_time, p)
        inserted = history.continuation(going_on, history.of_identities(pending, on_time, p), p)
        removed = history.of_identities(found, on_time, p).select(place)
        if late.isEmpty():
            return _Work(self._kept(versions, kinds, behind), inserted, removed, None, kinds, held)
        log = self.log(version=behind.head).filter(self._pruned(behind))
        inserted = inserted.unionByName(history.timeline(history.of_identities(log, late, p), p))
        old = history.of_identities(versions.filter(self._pruned(behind)), late, p)
        kept = history.of_identities(self._kept(versions, kinds, behind), late, p, keep=False)
        return _Work(kept, inserted, removed.unionByName(old.select(place)), late, kinds, held)

    def _kinds(self, touched: DataFrame, found: DataFrame) -> DataFrame:
        """The touched identities and whether they are late: (identity, is_late, is_plain, has_delete)."""
        names = list(self.policy.identity)
        last = found.select(*names, "last_position", F.lit(True).alias("is_known"))
        kinds = touched.join(last, names, "left")
        is_waiting = F.lit(False)
        if self.store.rows(self.layer, self.log_table, record="waiting"):
            marks = self.store.read(self.layer, self.log_table).filter("record = 'waiting'").select(*names).distinct()
            kinds = kinds.join(marks.withColumn("is_waiting", F.lit(True)), names, "left")
            is_waiting = F.col("is_waiting").isNotNull()
        is_new = F.col("is_known").isNull() & F.col("is_plain") & ~is_waiting
        is_late = ~(is_new | F.coalesce(history.continues(self.policy), F.lit(False)))
        return kinds.select(*names, is_late.alias("is_late"), "is_plain", "has_delete")

    def _kept(self, versions: DataFrame, kinds: DataFrame, behind: _Behind) -> DataFrame:
        """The versions without the open rows of the touched identities; no row of them is shuffled."""
        touched, same = self._on_identity(kinds, behind)
        return versions.alias("row").join(touched, same & F.col("row.is_open"), "left_anti")

    def _on_identity(self, touched: DataFrame, behind: _Behind) -> tuple[DataFrame, Column]:
        """The touched identities, broadcast, and the condition that joins them to the alias `row`.

        One scope is compared with literals: a join on one number is by far the cheapest.
        """
        same: Column = F.lit(True)
        for index, name in enumerate(SCOPE_COLUMNS):
            own = F.lit(behind.scopes[0][index]) if len(behind.scopes) == 1 else F.col(f"touched.{name}")
            same &= F.col(f"row.{name}") == own
        for name in self.policy.keys:
            same &= F.col(f"row.{name}") == F.col(f"touched.{name}")
        return F.broadcast(touched.select(*self.policy.identity)).alias("touched"), same

    def _pruned(self, behind: _Behind, prefix: str = "") -> Column:
        """A predicate of literals that holds for every touched row, so that Delta can leave files out."""
        pruned: Column = F.lit(True)
        if behind.lowest is not None:
            key = F.col(f"{prefix}{self.policy.keys[0]}")
            pruned = key.between(F.lit(behind.lowest), F.lit(behind.highest))
        if len(behind.scopes) <= MOST_LITERALS:
            for index, column in enumerate(SCOPE_COLUMNS):
                pruned &= F.col(f"{prefix}{column}").isin(sorted({scope[index] for scope in behind.scopes}))
        return pruned

    def _tied(self, ties: Observation, log: DataFrame) -> tuple[Row, ...]:
        if not ties.get["tied"]:
            return ()
        return tuple(history.quarantined(log, self.policy).take(MOST_TIES))

    def _is_marked(self) -> bool:
        """Whether all identities without a version are marked, so that an unmarked one without an open row is new."""
        return bool(self.store.last_note(self.layer, self.entity, "fold").get("marked"))

    def _mark_all(self, log: DataFrame, head: int, versions: DataFrame | None = None) -> bool:
        """Mark every identity of a log that has no version: before a table is folded by its open rows.

        versions: what the log gave, None: not folded yet.
        """
        doubtful = history.touched(log, self.policy).filter("has_delete or not is_plain").persist()
        if not doubtful.isEmpty():
            if versions is None:
                versions = history.timeline(history.of_identities(log, doubtful, self.policy), self.policy)
            self._mark_waiting(doubtful, versions, head, txn="waiting, all")
        doubtful.unpersist()
        return True

    def _mark_waiting(self, doubtful: DataFrame, versions: DataFrame, head: int, *, txn: str) -> None:
        """Mark those of the doubtful identities that end without a version: their next change must read their log.

        Written before the fold that relies on it. A mark too many costs time, one too few would be wrong.
        """
        names = list(self.policy.identity)
        waiting = doubtful.select(*names).join(versions.select(*names), names, "left_anti").persist()
        if not waiting.isEmpty():
            schema = self.log_schema(None)
            others = [F.lit(None).cast(f.dataType).alias(f.name) for f in schema if f.name not in names]
            rows = waiting.select(*names, *others).withColumn("record", F.lit("waiting"))
            self.append_records(rows, txn=txn, version=head, note={"kind": "waiting"})
        waiting.unpersist()

    # --- inside: writing --------------------------------------------------------------------------------------

    def _exchanged(self, inserted: DataFrame, removed: DataFrame) -> DataFrame:
        """The source of the MERGE: rows that name an old version, and the new versions, whose `_old_key` is null."""
        known = set(removed.columns) - {"version_key"}
        columns = [
            F.col(f.name) if f.name in known else F.lit(None).cast(f.dataType).alias(f.name) for f in inserted.schema
        ]
        old = removed.select(F.col("version_key").alias("_old_key"), *columns)
        return old.unionByName(inserted.select(F.lit(None).cast("bigint").alias("_old_key"), "*"))

    def _on(self, behind: _Behind, work: _Work) -> Column:
        on = (F.col("old.version_key") == F.col("new._old_key")) & self._pruned(behind, "old.")
        for name in self.policy.keys:
            on &= F.col(f"old.{name}") == F.col(f"new.{name}")
        return on & (F.col("old.is_open") == F.lit(True)) if work.whole_keys is None else on

    def _listed_keys(self) -> list[str]:
        return [k for k in self.policy.keys if k not in self._unlisted]

    def _log_properties(self) -> dict[str, str]:
        return {"delta.dataSkippingStatsColumns": ",".join([*self._listed_keys(), "valid_from", "recorded_at"])}

    def _properties(self) -> dict[str, str]:
        return {
            "delta.enableDeletionVectors": "true",
            "delta.dataSkippingStatsColumns": ",".join([*self._listed_keys(), "valid_from", "valid_to", "version_key"]),
        }


def holds(wide: T.DataType, narrow: T.DataType) -> bool:
    """Whether a type has a place for every value of another, without rounding."""
    if wide == narrow or isinstance(narrow, T.NullType):
        return True
    if isinstance(narrow, T.FloatType):
        return isinstance(wide, T.DoubleType)
    if type(wide) in _DIGITS and type(narrow) in _DIGITS:
        return _DIGITS[type(wide)] > _DIGITS[type(narrow)]
    if isinstance(wide, T.DecimalType):
        before = wide.precision - wide.scale
        if isinstance(narrow, T.DecimalType):
            return wide.scale >= narrow.scale and before >= narrow.precision - narrow.scale
        return before >= _DIGITS.get(type(narrow), before + 1)
    return False


def _holds_changes(file: Mapping[str, Any]) -> bool:
    return bool(file["partition.record"] == "change")


def _scope_of(file: Mapping[str, Any]) -> tuple[str, str]:
    return file["partition.scope_country"], file["partition.scope_entity"]


def _is_later(files: Sequence[Mapping[str, Any]], than: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every change of some files is later than all of others, by their statistics."""
    earliest: list[Any] = [f.get("min.valid_from") for f in files]
    latest: list[Any] = [f.get("max.valid_from") for f in than]
    if None in earliest or None in latest:
        return False
    return all(first > last + STATISTICS_STEP for last in latest for first in earliest)


def _in_scopes(scopes: Sequence[tuple[str, str]]) -> str:
    return " or ".join(f"(scope_country = '{country}' and scope_entity = '{entity}')" for country, entity in scopes)
