"""One entity's log and versions in the lake: append, read, fold. `history` says what is right, here it is made cheap.

* `silver/<entity>_changes`, the log: append-only, partitioned by scope and `record`: `change`; `snapshot` (one row per
  accepted snapshot and scope); `excluded` (identities that a snapshot holds and says nothing valid about); `waiting`
  (identities that have changes and no version: the next change reads their log); `horizon` (what has expired).
* `silver/<entity>`, the versions: partitioned by scope and `is_open`. Its transaction `fold` is the version of the log
  that is folded in: the watermark, committed with the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

from pyspark.sql import Column, DataFrame, Observation, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from varve import history, horizon, snapshots, upkeep
from varve.errors import ContractError, StorageError
from varve.history import Policy
from varve.horizon import Expiry
from varve.privacy import silver_schema
from varve.scope import SCOPE_COLUMNS
from varve.snapshots import STATISTICS_STEP, Comparison, Snapshot
from varve.store import Commit, Loaded, Store
from varve.upkeep import Compaction

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
    rebuilt: why the versions were made anew from the whole log; quarantined: statements that contradict each other;
    trimmed: versions that the horizon had passed [rows]."""

    version: int | None = None
    inserted: int = 0
    removed: int = 0
    rebuilt: str | None = None
    quarantined: tuple[Row, ...] = ()
    trimmed: int = 0


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
    lowest: Any = None
    highest: Any = None
    is_later: bool = False


@dataclass(frozen=True, slots=True)
class _Split:
    """The changes that are behind, by how they are folded.

    pending, statements: of those that go on from the open row of their key or are the first of it, see
    `history.continued`; late: the identities whose whole log is read, None when there are none; by: what tells the
    touched identities apart; held: persisted frames.
    """

    pending: DataFrame
    statements: DataFrame
    late: DataFrame | None
    by: tuple[str, ...]
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
        # Of which versions and log, and what: planning a read again costs as much as reading, and a split holds memory.
        self._last_read: tuple[tuple[int, int], DataFrame] | None = None
        self._last_split: tuple[tuple[int, int], _Split] | None = None

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
        stored = {f.name: f for f in rows.schema}
        clock = [c for c in stored if c in (*history.CHANGE_COLUMNS, *history.VERSION_COLUMNS, "record")]
        types = {f.name: f.dataType for f in self._schema or ()}
        own = [
            self._as_contracted(stored[c]) if c in stored else F.lit(None).cast(types[c]).alias(c)
            for c in (*self.policy.keys, *self.policy.payload)
        ]
        return rows.select(*SCOPE_COLUMNS, *own, *clock)

    def _as_contracted(self, field: T.StructField) -> Column | str:
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
        if was == now:
            return field.name
        column = F.col(field.name)
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
        state = (folded, behind.head)
        if self._last_read is None or self._last_read[0] != state:
            if self._is_small(behind) or not (behind.is_later or self._is_marked()):
                frame = self._small(versions, behind)
            else:
                frame = self._great(versions, behind, self._split(versions, behind, folded))
            self._last_read = state, frame
        return self._last_read[1]

    def as_of(self, valid_at: datetime) -> DataFrame:
        """The live rows that were valid at a moment (UTC); raises ContractError when it lies behind the horizon."""
        horizon.must_not_hide(self, valid_at)
        return history.as_of(self.read(), valid_at)

    def as_known(self, valid_at: datetime, known_at: datetime) -> DataFrame:
        """The live rows that were valid at `valid_at` by what had been recorded by `known_at` (both UTC).

        Raises ContractError when the horizon has merged what would tell it.
        """
        horizon.must_not_hide(self, valid_at, known_at)
        return history.as_known(self.log(), valid_at, known_at, self.policy)

    # --- appending --------------------------------------------------------------------------------------------

    def append(self, changes: DataFrame, *, txn: str, is_empty: bool = False) -> Commit:
        """Log changes under the name of their manifest; the second time is a no-op.

        Reads no history, but for the keys whose changes come from before a snapshot that is in the log already.
        changes: identity, payload and history.CHANGE_COLUMNS, those behind the horizon are left out; is_empty: the
        caller has counted, there is no row: only the name is logged, without a Spark job.
        """
        if txn in self.loaded():
            return Commit()
        if is_empty and self.store.exists(self.layer, self.log_table):
            return self.store.advance(self.layer, self.log_table, txn=txn, note=self.log_note("changes"))
        changes = horizon.ahead(self, changes if self._schema is None else self._shaped(changes))
        self.widen_log()
        again = snapshots.reassertions(self, changes)
        rows = self.as_log(changes) if again is None else self.as_log(changes).unionByName(self.as_log(again))
        return self.append_records(rows, txn=txn, note=self.log_note("changes"))

    def compare(self, rows: DataFrame, snapshot: Snapshot, excluded: DataFrame | None = None) -> Comparison:
        """A snapshot beside the state before it; writes nothing. See `snapshots.compare`.

        Raises ContractError when it lies behind the horizon."""
        horizon.must_not_hide_snapshot(self, snapshot)
        return snapshots.compare(self, rows, snapshot, excluded)

    def append_snapshot(self, comparison: Comparison) -> Commit:
        """Log a snapshot under the name of its manifest; the second time is a no-op."""
        return snapshots.append(self, comparison)

    def append_records(self, rows: DataFrame, *, txn: str, note: Mapping[str, Any], version: int = 1) -> Commit:
        """Log rows of any record kind; rows: the columns of the log."""
        return self.store.append(
            rows, self.layer, self.log_table, txn=txn, version=version, note=note,
            partition_by=(*SCOPE_COLUMNS, "record"),
            properties=self._log_properties(),
        )  # fmt: skip

    def log_note(self, kind: str) -> dict[str, Any]:
        """What a commit of the log says of itself."""
        return {"kind": kind, "keys": list(self.policy.keys)}

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
        """Rewrite the log when the contract widened a type: its files carry one type per column. Rare.

        What is not folded yet is folded first: the rewrite says nothing new."""
        if self._schema is None or not self.store.exists(self.layer, self.log_table):
            return
        logged = self.store.read(self.layer, self.log_table)
        types = {f.name: f.dataType for f in self._schema}
        wider = [f for f in logged.schema if types.get(f.name, f.dataType) != f.dataType]
        if not wider:
            return
        self.fold()
        self.store.replace(
            logged.select(*(self._as_contracted(f) if f in wider else f.name for f in logged.schema)),
            self.layer, self.log_table, partition_by=(*SCOPE_COLUMNS, "record"),
            properties=self._log_properties(),
            note={"kind": upkeep.WIDENED, "columns": sorted(f.name for f in wider)},
        )  # fmt: skip
        self.fold()  # moves the mark

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
        """Bring the versions up to the log in one commit that carries the watermark. Nothing new: no commit, no job.

        Behind a rearrangement of the log the versions are trimmed, if the horizon says so, and the mark is moved."""
        head, mark = self._head(), self._watermark()
        if head is None:
            return Fold()
        if mark is None:
            return self.rebuild()
        try:
            behind = self._behind()
        except StorageError as error:  # the log was cleaned up behind the watermark
            return self.rebuild(f"what was folded cannot be told from what was not: {error}")
        moved = mark < head and upkeep.rearrangements(self, mark)
        trimmed = horizon.trim(self) if moved else 0
        if reason := self._outgrown():
            return self.rebuild(reason)
        if behind is None:
            if moved:
                told = self.store.last_note(self.layer, self.entity, "fold")
                note = {**told, "kind": "fold", "watermark": head, "rebuilt": None}
                self.store.advance(self.layer, self.entity, txn=FOLD, version=head, note=note)
            return Fold(trimmed=trimmed)
        folded = self._fold_small(behind) if self._is_small(behind) else self._fold_large(behind)
        return replace(folded, trimmed=trimmed)

    def is_folded(self) -> bool:
        """Whether the versions are what the log gives under the contract; no Spark job."""
        head = self._head()
        return head is None or (head == self._watermark() and not self._outgrown())

    def rebuild(self, reason: str | None = None) -> Fold:
        """Make the versions anew from the whole log, in one commit. reason: why, when it is no first load."""
        head, mark = self._head(), self._watermark()
        assert head is not None
        log, seen, note = self.log(version=head), Observation(), {**self._note(head), "rebuilt": reason}
        versions = history.timeline(log, self.policy, seen=seen).sortWithinPartitions(*self.policy.identity)
        commit = self.store.replace(
            versions, self.layer, self.entity,
            txn=FOLD if mark is None or mark < head else None, version=head,
            partition_by=(*SCOPE_COLUMNS, "is_open"), properties=self._properties(), note=note,
        )  # fmt: skip
        is_marked = not seen.get["doubtful"]  # every key has a version
        if not is_marked and self.store.rows(self.layer, self.log_table, record="change") >= REWRITE_BELOW_ROWS:
            self._mark_all(log, head, self.versions())
            is_marked = True
        if is_marked:
            self.store.advance(self.layer, self.entity, txn=FOLD, version=head, note={**note, "marked": True})
        return Fold(commit.version, inserted=commit.rows, rebuilt=reason, quarantined=self._tied(seen, log))

    def _fold_small(self, behind: _Behind) -> Fold:
        """Rewrite the touched scopes, their touched keys computed anew from the log: one job."""
        p, versions, where = self.policy, self.versions(), _in_scopes(behind.scopes)
        seen, came, stayed = Observation(), Observation(), Observation()
        touched = self._pending(behind).select(*p.identity)
        kept = history.of_identities(versions.filter(where), touched, p.identity, keep=False)
        log = history.of_identities(self.log(version=behind.head).filter(where), touched, p.identity)
        rows = kept.observe(stayed, F.count("*").alias("rows")).unionByName(
            history.timeline(log, p, seen=seen).observe(came, F.count("*").alias("rows"))
        )
        before = self._rows(behind.scopes)
        commit = self.store.replace(
            rows.coalesce(1), self.layer, self.entity, where=where,
            txn=FOLD, version=behind.head, note=self._note(behind.head),
        )  # fmt: skip
        tied = self._tied(seen, self.log(version=behind.head))
        return Fold(commit.version, inserted=came.get["rows"], removed=before - stayed.get["rows"], quarantined=tied)

    def _fold_large(self, behind: _Behind) -> Fold:
        """Exchange the rows that change, in one MERGE; or rewrite the touched scopes when much of them changes."""
        p, head, folded = self.policy, behind.head, self.store.version(self.layer, self.entity)
        assert folded is not None
        versions = self.versions(version=folded)
        if not (behind.is_later or self._is_marked()):
            self._mark_all(self.log(version=self._watermark()), head, versions)
        split = self._split(versions, behind, folded)
        stored = self._in_touched_scopes(versions, behind).filter(self._pruned(behind))
        # The one scan of whole rows: all that may change, of on-time and of late keys.
        touched = history.of_identities(stored.filter("is_open"), self._pending(behind), split.by).persist()
        held = [touched]
        try:
            opened = touched
            if split.late is not None:
                opened = history.of_identities(touched, split.late, split.by, keep=False)
            changed = history.continued(opened, split.statements, split.pending, p, by=split.by)
            changed = changed.withColumn("_is_gone", F.lit(False))
            known = []
            if split.late is not None:
                old = touched.unionByName(stored.filter("not is_open"))
                old = history.of_identities(old, split.late, split.by).select(*versions.columns).persist()
                again = self._of_late(behind, split).select(*versions.columns).persist()
                held, known = [*held, old, again], [again]
                changed = changed.unionByName(self._exchanged(again.exceptAll(old), old.exceptAll(again)))
            # Used several times, with a deep plan: computed once, and cut off from where it came from.
            counts = Observation()
            changed = changed.observe(
                counts,
                F.count(history.OLD_KEY).alias("removed"),
                F.count(F.when(~F.col("_is_gone"), 1)).alias("inserted"),
                F.count("*").alias("all"),
            ).localCheckpoint()
            self._mark_waiting(self._pending(behind), [changed.filter("not _is_gone"), *known], head, txn="waiting")
            came, gone = counts.get["inserted"], counts.get["removed"]
            note = {**self._note(head), "marked": True}
            if not counts.get["all"]:
                commit = self.store.advance(self.layer, self.entity, txn=FOLD, version=head, note=note)
            elif gone > REWRITE_ABOVE_SHARE * self._rows(behind.scopes):
                rows = self._in_touched_scopes(self._great(versions, behind, split), behind)
                commit = self.store.replace(
                    rows.repartition(*p.identity).sortWithinPartitions(*p.identity), self.layer, self.entity,
                    where=_in_scopes(behind.scopes), txn=FOLD, version=head, note=note,
                )  # fmt: skip
            else:
                commit = self.store.exchange(
                    F.broadcast(changed) if counts.get["all"] <= BROADCAST_BELOW_ROWS else changed,
                    self.layer, self.entity, on=self._on(behind, split), columns=versions.columns,
                    when_insert=f"new.{history.OLD_KEY} is null",
                    when_delete=None if split.late is None else "new._is_gone", txn=FOLD, version=head, note=note,
                )  # fmt: skip
            tied: tuple[Row, ...] = ()
            if split.late is not None:
                log = history.of_identities(self.log(version=head), split.late, p.identity)
                tied = tuple(history.quarantined(log, p).take(MOST_TIES))
            return Fold(commit.version, came, gone, quarantined=tied)
        finally:
            self._forget()
            for frame in held:
                frame.unpersist()

    def plan(self, changes: DataFrame) -> Plan:
        """What appending and folding `changes` would do; nothing is written."""
        p, changes = self.policy, horizon.ahead(self, changes)
        touched = changes.select(*p.identity).distinct()
        stated = history.of_identities(self.log(), touched, p.identity).unionByName(changes.select(*self.log().columns))
        columns = [*p.identity, *p.payload, *(c for c in history.VERSION_COLUMNS if c != "last_position")]
        new = history.timeline(stated, p).select(columns).persist()
        old = history.of_identities(self.read(), touched, p.identity).select(columns).persist()
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

    def expire(self, before: datetime) -> Expiry:
        """Give up what lies before a moment (aware), see `horizon.expire`."""
        return horizon.expire(self, before)

    def compact(self) -> Compaction:
        """Put the small files of the log and of the versions together, see `upkeep.compact`."""
        return upkeep.compact(self)

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
            mended = history.timeline(history.of_identities(self.log(version=mark), bad, p.identity), p).persist()
            kept = history.of_identities(versions, bad, p.identity, keep=False).filter(_in_scopes(scopes))
            removed, inserted = history.of_identities(versions, bad, p.identity).count(), mended.count()
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
        if note.get("hash") != history.HASH:
            return "rows are hashed in another way now"
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
        return {"kind": "fold", "watermark": head, **self._columns(), "hash": history.HASH}

    def _head(self) -> int | None:
        return self.store.version(self.layer, self.log_table)

    def _watermark(self) -> int | None:
        return self.store.transaction(self.layer, self.entity, FOLD)

    def _behind(self) -> _Behind | None:
        """What the versions lack, None when nothing."""
        head, mark = self._head(), self._watermark()
        if head is None or mark is None or head <= mark:
            return None
        files = tuple(file for file in upkeep.new_files(self, mark, head) if _holds_changes(file))
        if not files:
            return None
        known = self.store.files(self.layer, self.log_table, version=mark)
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

    def _small(self, versions: DataFrame, behind: _Behind) -> DataFrame:
        """The versions, every touched key anew from its whole log. No job is run."""
        p = self.policy
        touched = self._pending(behind).select(*p.identity)
        log = self.log(version=behind.head).filter(_in_scopes(behind.scopes))
        kept = history.of_identities(versions, touched, p.identity, keep=False)
        return kept.unionByName(history.timeline(history.of_identities(log, touched, p.identity), p))

    def _great(self, versions: DataFrame, behind: _Behind, split: _Split) -> DataFrame:
        """The versions: open rows go on, late keys anew from their whole log; each stored row is scanned once."""
        opened, within = self._open_rows(versions, behind, split), self._pruned(behind)
        parts = [
            history.continued(opened, split.statements, split.pending, self.policy, by=split.by, within=within).drop(
                history.OLD_KEY
            )
        ]
        stored = self.store.files(self.layer, self.entity)
        if any(not file["partition.is_open"] for file in stored if _scope_of(file) in behind.scopes):
            closed = self._in_touched_scopes(versions, behind).filter("not is_open")
            # Said as literals, so that a reader of current rows leaves these files alone.
            closed = closed.withColumns({"is_open": F.lit(False), "is_current": F.lit(False)})
            if split.late is not None:
                closed = history.of_identities(closed, split.late, split.by, keep=False)
            parts.append(closed)
        if any(_scope_of(file) not in behind.scopes for file in stored):
            parts.append(versions.filter(~self._is_in_scopes(behind)))
        if split.late is not None:
            parts.append(self._of_late(behind, split))
        return reduce(DataFrame.unionByName, parts)

    def _open_rows(self, versions: DataFrame, behind: _Behind, split: _Split) -> DataFrame:
        """The open rows of the touched scopes but those of late keys."""
        opened = self._in_touched_scopes(versions, behind).filter("is_open")
        return opened if split.late is None else history.of_identities(opened, split.late, split.by, keep=False)

    def _of_late(self, behind: _Behind, split: _Split) -> DataFrame:
        """The versions of the late keys, as their whole log gives them."""
        assert split.late is not None
        log = self._in_touched_scopes(self.log(version=behind.head), behind).filter(self._pruned(behind))
        return history.timeline(history.of_identities(log, split.late, split.by), self.policy)

    def _split(self, versions: DataFrame, behind: _Behind, folded: int) -> _Split:
        """Which keys go on from their open row and which are late; the same until something is appended or folded."""
        state = (folded, behind.head)
        if self._last_split is None or self._last_split[0] != state:
            self._forget()
            self._last_split = state, self._new_split(versions, behind)
        return self._last_split[1]

    def _forget(self) -> None:
        """Give back what the last split holds in memory; a read that was handed out computes it again."""
        for frame in self._last_split[1].held if self._last_split else ():
            frame.unpersist()
        self._last_read = self._last_split = None

    def _new_split(self, versions: DataFrame, behind: _Behind) -> _Split:
        """No job is run when the statistics of the log tell that no key is late."""
        p = self.policy
        by = p.keys if len(behind.scopes) == 1 else p.identity
        pending = self._pending(behind)
        if behind.is_later:
            statements = history.later(pending, p).persist()
            return _Split(pending, statements, None, by, (statements,))
        pending = pending.persist()
        opened = self._in_touched_scopes(versions, behind).filter("is_open").filter(self._pruned(behind))
        last = history.of_identities(opened.select(*p.identity, "last_position"), pending, by)
        kinds = history.touched(pending, p).join(last.withColumn("_is_known", F.lit(True)), list(p.identity), "left")
        is_waiting = F.lit(False)
        if self.store.rows(self.layer, self.log_table, record="waiting"):
            marks = self.store.read(self.layer, self.log_table).filter("record = 'waiting'")
            marks = marks.select(*p.identity).distinct().withColumn("_is_waiting", F.lit(True))
            kinds = kinds.join(marks, list(p.identity), "left")
            is_waiting = F.col("_is_waiting").isNotNull()
        is_new = F.col("_is_known").isNull() & F.col("is_plain") & ~is_waiting
        is_late = ~(is_new | F.coalesce(history.continues(p), F.lit(False)))
        late = kinds.filter(is_late).select(*p.identity).persist()
        is_any = not late.isEmpty()
        on_time = history.of_identities(pending, late, by, keep=False) if is_any else pending
        statements = history.later(on_time, p).persist()
        return _Split(on_time, statements, late if is_any else None, by, (pending, late, statements))

    def _in_touched_scopes(self, rows: DataFrame, behind: _Behind) -> DataFrame:
        return rows.filter(self._is_in_scopes(behind))

    def _is_in_scopes(self, behind: _Behind) -> Column:
        """A predicate of literals on the partitions."""
        return F.expr(_in_scopes(behind.scopes))

    def _pruned(self, behind: _Behind, prefix: str = "") -> Column:
        """A predicate of literals that holds for every touched row, so that files and pages can be left out."""
        pruned: Column = F.lit(True)
        if self._is_narrow(behind):
            key = F.col(f"{prefix}{self.policy.keys[0]}")
            pruned = key.between(F.lit(behind.lowest), F.lit(behind.highest))
        if len(behind.scopes) <= MOST_LITERALS:
            for index, column in enumerate(SCOPE_COLUMNS):
                pruned &= F.col(f"{prefix}{column}").isin(sorted({scope[index] for scope in behind.scopes}))
        return pruned

    def _is_narrow(self, behind: _Behind) -> bool:
        """Whether it helps to name the range of the keys that are touched.

        Numbers that span more than half of what is there leave little out, and as a number is written into the code
        that Spark generates, another range the next day is another code to compile."""
        lowest, highest, key = behind.lowest, behind.highest, self.policy.keys[0]
        if lowest is None or isinstance(lowest, str):
            return lowest is not None
        spans = [(file[f"min.{key}"], file[f"max.{key}"]) for file in self.store.files(self.layer, self.entity)]
        if not spans or any(None in span for span in spans):
            return True
        return bool(2 * (highest - lowest) < max(high for _, high in spans) - min(low for low, _ in spans))

    def _tied(self, seen: Observation, log: DataFrame) -> tuple[Row, ...]:
        if not seen.get["tied"]:
            return ()
        return tuple(history.quarantined(log, self.policy).take(MOST_TIES))

    def _is_marked(self) -> bool:
        """Whether all identities without a version are marked, so that an unmarked one without an open row is new."""
        return bool(self.store.last_note(self.layer, self.entity, "fold").get("marked"))

    def _mark_all(self, log: DataFrame, head: int, versions: DataFrame) -> None:
        """Mark every identity of a log that has no version: before a table is folded by its open rows."""
        self._mark_waiting(log, [versions], head, txn="waiting, all")

    def _mark_waiting(self, changes: DataFrame, versions: Sequence[DataFrame], head: int, *, txn: str) -> None:
        """Mark the identities of changes that have no version: their next change must read their log.

        Written before the fold that relies on it. A mark too many costs time, one too few would be wrong.
        """
        names = list(self.policy.identity)
        waiting = changes.select(*names)
        for known in versions:
            waiting = waiting.join(known.select(*names), names, "left_anti")
        waiting = waiting.distinct().persist()
        if not waiting.isEmpty():
            schema = self.log_schema(None)
            others = [F.lit(None).cast(f.dataType).alias(f.name) for f in schema if f.name not in names]
            rows = waiting.select(*names, *others).withColumn("record", F.lit("waiting"))
            self.append_records(rows, txn=txn, version=head, note=self.log_note("waiting"))
        waiting.unpersist()

    # --- inside: writing --------------------------------------------------------------------------------------

    def _exchanged(self, new: DataFrame, old: DataFrame) -> DataFrame:
        """Rows in place of others: each with the key of the version that it replaces; those that nothing replaces."""
        by = [*self.policy.identity, "version_key"]
        gone = old.join(new.select(*by), by, "left_anti")
        replaced = old.select(*by, F.col("version_key").alias(history.OLD_KEY))
        rows = new.join(replaced, by, "left").select(*new.columns, history.OLD_KEY)
        keys = gone.select(*by, F.col("version_key").alias(history.OLD_KEY))
        return rows.withColumn("_is_gone", F.lit(False)).unionByName(
            keys.withColumn("_is_gone", F.lit(True)), allowMissingColumns=True
        )

    def _on(self, behind: _Behind, split: _Split) -> Column:
        on = (F.col("old.version_key") == F.col(f"new.{history.OLD_KEY}")) & self._pruned(behind, "old.")
        for name in self.policy.keys:
            on &= F.col(f"old.{name}") == F.col(f"new.{name}")
        return on & (F.col("old.is_open") == F.lit(True)) if split.late is None else on

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
