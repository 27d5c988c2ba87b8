"""One entity's log and versions in the lake: append, read, fold. `history` says what is right, here it is made cheap.

* `silver/<entity>_changes`, the log: append-only, partitioned by scope and `record`: `change`; `snapshot` (one row per
  accepted snapshot and scope); `excluded` (identities that a snapshot holds and says nothing valid about); `waiting`
  (identities that have changes and no version: the next change reads their log); `horizon` (what has expired).
* `silver/<entity>`, the versions: partitioned by scope and `is_open`. Its transaction `fold` is the version of the log
  that is folded in: the watermark, committed with the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from varve import history
from varve.history import Policy
from varve.history_table import assertions, folding, horizon, snapshots, upkeep
from varve.history_table.folding import FOLD, Fold
from varve.history_table.horizon import Expiry
from varve.history_table.snapshots import Comparison, Snapshot
from varve.history_table.unfolded import Unfolded
from varve.history_table.upkeep import Compaction
from varve.model.clock import utc
from varve.model.errors import ContractError
from varve.model.scope import SCOPE_COLUMNS, in_scopes
from varve.privacy.pseudonyms import silver_schema
from varve.raw.batch import Batch, Load, transaction
from varve.storage.delta import Commit, Store

if TYPE_CHECKING:
    from varve.model.contract import Contract

ROLES: Final = {"keys": "a key", "tracked": "tracked", "overwritten": "overwritten"}  # of columns: in notes, to people

# That an integer may need.
_DIGITS: Final[Mapping[type[T.DataType], int]] = {T.ByteType: 3, T.ShortType: 5, T.IntegerType: 10, T.LongType: 19}


@dataclass(frozen=True, slots=True)
class Plan:
    """What changes would do to the versions, nothing written. samples: up to ten version rows that would be new."""

    opened: int
    closed: int
    rewritten: int
    removed: int
    oldest: datetime | None  # the earliest valid_from of a row that would change
    samples: tuple[Row, ...]


# Told of the version of the log that is folded, and of statements that contradict each other.
OnContradiction = Callable[[int, tuple[Row, ...]], None]


def _to_nobody(_head: int, _statements: tuple[Row, ...]) -> None:
    """Contradictions are told to whoever folds, by `Fold.quarantined` alone."""


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
        on_contradiction: OnContradiction = _to_nobody,
    ) -> None:
        """schema: of keys and payload by the contract, None: as the log has it. unlisted: key columns that must not
        enter statistics, because they are personal. on_contradiction: called by a fold before it is done; of the same
        statements again when a fold dies."""
        self.store, self.entity, self.policy = store, entity, policy
        self.on_contradiction = on_contradiction
        self.log_table = f"{entity}_changes"
        self._schema, self._unlisted = schema, unlisted
        self.unfolded = Unfolded(self)
        self._knows_keys = False  # whether the log's keys are those of the policy

    @classmethod
    def of(cls, store: Store, contract: Contract, on_contradiction: OnContradiction = _to_nobody) -> HistoryTable:
        """The history of the entity that a silver contract describes."""
        personal = tuple(c.name for c in contract.columns if c.personal is not None)
        return cls(
            store, contract.table, Policy.of(contract),
            schema=silver_schema(contract), unlisted=personal, on_contradiction=on_contradiction,
        )  # fmt: skip

    @property
    def spark(self) -> SparkSession:
        """The session of the store."""
        return self.store.spark

    def batch(self, *holds: Load, run: str = "") -> Batch:
        """The next batch of the log: what its commit says that it holds of extracts; no Spark job."""
        reached = self.store.transaction(self.layer, self.log_table, transaction(self.layer, self.log_table))
        return Batch((reached or 0) + 1, holds, run)

    # --- reading ----------------------------------------------------------------------------------------------

    def log(self, *, version: int | None = None) -> DataFrame:
        """Every change that was accepted, in the shape that `history.timeline` takes."""
        return self.records(version=version).filter("record = 'change'").drop("record")

    def records(self, *, version: int | None = None) -> DataFrame:
        """All rows of the log, of every kind of `record`."""
        return self.shaped(self.store.read(self.layer, self.log_table, version=version))

    def versions(self, *, version: int | None = None) -> DataFrame:
        """The versions as of the last fold."""
        return self.shaped(self.store.read(self.layer, self.entity, version=version))

    def shaped(self, rows: DataFrame) -> DataFrame:
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

    def read(self, *, is_narrow: bool = False) -> DataFrame:
        """The versions with every change applied, folded or not: never stale.

        The folded rows are scanned once and not shuffled; only the keys touched since the last fold are computed anew,
        and what becomes of them is kept for the next read. is_narrow: for a look-up of a few keys; where none of the
        touched keys is late, what the caller's filter leaves out is then not computed, and nothing is kept.
        """
        folded = self.store.version(self.layer, self.entity)  # the versions are pinned first, then the log
        if folded is None:
            return history.timeline(self.log(), self.policy)
        if self.outgrown(version=folded):
            return history.timeline(self.log(), self.policy)
        behind = self.unfolded.behind(folded)
        if behind is None:
            return self.versions(version=folded)
        return self.unfolded.read(behind, is_narrow=is_narrow)

    def as_of(self, valid_at: datetime) -> DataFrame:
        """The live rows that were valid at a moment (UTC where it has no offset).

        Raises ContractError when it lies behind the horizon."""
        valid_at = utc(valid_at)
        horizon.must_not_hide(horizon.of(self), self.entity, valid_at)
        return history.as_of(self.read(), valid_at)

    def as_known(self, valid_at: datetime, known_at: datetime) -> DataFrame:
        """The live rows that were valid at `valid_at` by what had been recorded by `known_at` (both UTC where they have
        no offset).

        Raises ContractError when the horizon has merged what would tell it.
        """
        valid_at, known_at, found = utc(valid_at), utc(known_at), horizon.of(self)
        horizon.must_not_hide(found, self.entity, valid_at)
        horizon.must_not_merge(found, self.entity, known_at)
        return history.as_known(self.log(), valid_at, known_at, self.policy)

    def known(self, known_at: datetime) -> DataFrame:
        """The log as it stood at a moment (UTC where it has no offset): `history.timeline` of it is what was believed.

        Raises ContractError when the horizon has merged what would tell it."""
        known_at = utc(known_at)
        horizon.must_not_merge(horizon.of(self), self.entity, known_at)
        return history.known(self.log(), known_at)

    # --- appending --------------------------------------------------------------------------------------------

    def append(self, changes: DataFrame, batch: Batch, *, is_empty: bool = False) -> Commit:
        """Log changes as a batch. Raises OvertakenError when its number is taken: by itself, or by another run.

        Reads no history, but for the keys whose changes come from before a snapshot that is in the log already.
        changes: identity, payload and history.CHANGE_COLUMNS, those behind the horizon are left out; is_empty: the
        caller has counted, there is no row: only what it holds is logged, without a Spark job.
        """
        if is_empty and self.store.exists(self.layer, self.log_table):
            return self.store.advance(
                self.layer, self.log_table, txn=transaction(self.layer, self.log_table), version=batch.number,
                is_fenced=True, note={**self.log_note("changes"), **batch.note()},
            )  # fmt: skip
        changes = horizon.ahead(self, changes if self._schema is None else self.shaped(changes))
        self.widen_log()
        again = assertions.reassertions(self, changes)
        rows = self.as_log(changes) if again is None else self.as_log(changes).unionByName(self.as_log(again))
        return self.append_batch(rows, batch, "changes")

    def compare(self, rows: DataFrame, snapshot: Snapshot, excluded: DataFrame | None = None) -> Comparison:
        """A snapshot beside the state before it; writes nothing. See `snapshots.compare`.

        Raises ContractError when it lies behind the horizon."""
        horizon.must_not_hide_snapshot(self, snapshot)
        return snapshots.compare(self, rows, snapshot, excluded)

    def append_snapshot(self, comparison: Comparison, batch: Batch) -> Commit:
        """Log a snapshot as a batch. Raises OvertakenError when its number is taken."""
        return snapshots.append(self, comparison, batch)

    def append_batch(self, rows: DataFrame, batch: Batch, kind: str) -> Commit:
        """Log rows that say something about entities; rows: the columns of the log; kind: of the commit's note."""
        return self.store.append(
            rows, self.layer, self.log_table, txn=transaction(self.layer, self.log_table), version=batch.number,
            is_fenced=True, note={**self.log_note(kind), **batch.note()}, partition_by=(*SCOPE_COLUMNS, "record"),
            properties=self._log_properties(),
        )  # fmt: skip

    def append_marks(self, rows: DataFrame, *, txn: str, version: int, kind: str) -> Commit:
        """Log what the table itself needs to know; the second time is a no-op. rows: the columns of the log."""
        return self.store.append(
            rows, self.layer, self.log_table, txn=txn, version=version, note={"kind": kind},
            partition_by=(*SCOPE_COLUMNS, "record"), properties=self._log_properties(),
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
        head = self.head()
        self.store.replace(
            logged.select(*(self._as_contracted(f) if f in wider else f.name for f in logged.schema)),
            self.layer, self.log_table, partition_by=(*SCOPE_COLUMNS, "record"),
            properties=self._log_properties(),
            based_on=head, note={"kind": upkeep.WIDENED, "columns": sorted(f.name for f in wider)},
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
        """Bring the versions up to the log in one commit that carries the watermark, see `folding.fold`."""
        return folding.fold(self)

    def rebuild(self, reason: str | None = None) -> Fold:
        """Make the versions anew from the whole log, in one commit. reason: why, when it is no first load."""
        return folding.rebuild(self, reason)

    def is_folded(self) -> bool:
        """Whether the versions are what the log gives under the contract; no Spark job."""
        head = self.head()
        return head is None or (head == self.watermark() and not self.outgrown() and not self.is_untold())

    def plan(self, changes: DataFrame) -> Plan:
        """What appending and folding `changes` would do; nothing is written."""
        p, changes = self.policy, horizon.ahead(self, changes).select(*self.log().columns)
        if (again := assertions.reassertions(self, changes)) is not None:
            # Used several times, and deep: computed once, and cut off from where it came from.
            changes = changes.unionByName(again.select(*changes.columns)).localCheckpoint()
        touched = changes.select(*p.identity).distinct()
        stated = history.of_identities(self.log(), touched, p.identity).unionByName(changes)
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
        return history.audit(self.versions(), self.log(version=self.watermark()), self.policy)

    def repair(self) -> Fold:
        """Mend exactly the keys that the audit finds, from the log, in one commit."""
        if reason := self.outgrown():
            return self.rebuild(reason)
        folded = self.store.version(self.layer, self.entity)
        p, versions, mark = self.policy, self.versions(version=folded), self.watermark(version=folded)
        bad = self.audit().select(*p.identity).distinct().persist()
        try:
            scopes = bad.select(*SCOPE_COLUMNS).distinct().collect()
            if not scopes:
                return Fold()
            mended = history.timeline(history.of_identities(self.log(version=mark), bad, p.identity), p).persist()
            kept = history.of_identities(versions, bad, p.identity, keep=False).filter(in_scopes(scopes))
            removed, inserted = history.of_identities(versions, bad, p.identity).count(), mended.count()
            note = {"kind": "repair", "watermark": mark}
            commit = self.store.replace(
                kept.unionByName(mended), self.layer, self.entity, where=in_scopes(scopes), based_on=folded, note=note
            )
            mended.unpersist()
            return Fold(commit.version, inserted, removed)
        finally:
            bad.unpersist()

    # --- how far the versions are -----------------------------------------------------------------------------

    def outgrown(self, *, version: int | None = None) -> str | None:
        """Why the folded rows cannot be gone on with: the contract has other columns or types than at the fold, or
        another order of changes. version: of the versions.

        A column that the log did not have at the fold is no reason: it is null in every row before it, and a null adds
        nothing to a hash. One that the log had, untracked or out of the contract, is a reason.
        """
        if self.store.is_restored(self.layer, self.entity):  # their watermark was not, as Delta restores no transaction
            return "the versions were restored to an older version"
        note = self.last_fold(version=version)
        if "tracked" not in note or self._schema is None:
            return None
        if note.get("format") != history.FORMAT:
            return "versions are kept in another way now"
        order = self._order()
        reasons = [f"{k} is {order[k]} and was {v}" for k, v in note.get("order", order).items() if v != order[k]]
        was, now = {role: note.get(role, {}) for role in ROLES}, self._columns()
        for role, title in ROLES.items():
            reasons += [f"column {c} is no longer {title}" for c in sorted(was[role].keys() - now[role].keys())]
            kept = sorted(was[role].keys() & now[role].keys())
            reasons += [
                f"the type of {c} from {was[role][c]} to {now[role][c]}" for c in kept if was[role][c] != now[role][c]
            ]
        if come := {c for columns in now.values() for c in columns} - {c for columns in was.values() for c in columns}:
            logged = self.store.columns(self.layer, self.log_table, version=self.watermark(version=version))
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

    def _order(self) -> dict[str, Any]:
        """What orders changes."""
        return {"domain": self.policy.domain, "tie_break": list(self.policy.tie_break)}

    def fold_note(self, head: int) -> dict[str, Any]:
        """What the commit of a fold says of itself."""
        return {"kind": "fold", "watermark": head, **self._columns(), "order": self._order(), "format": history.FORMAT}

    def last_fold(self, *, version: int | None = None) -> dict[str, Any]:
        """What the last fold said of itself, as of a version of the versions."""
        if version is None:
            return self.store.last_note(self.layer, self.entity, FOLD)
        return self.store.last_note(self.layer, self.entity, FOLD, watermark=self.watermark(version=version))

    def head(self) -> int | None:
        """The version of the log, None when there is none."""
        return self.store.version(self.layer, self.log_table)

    def watermark(self, *, version: int | None = None) -> int | None:
        """The version of the log that is folded in, None when none is; as of a version of the versions."""
        return self.store.transaction(self.layer, self.entity, FOLD, version=version)

    def is_marked(self, *, version: int | None = None) -> bool:
        """Whether all identities without a version are marked, so that an unmarked one without an open row is new."""
        return bool(self.last_fold(version=version).get("marked"))

    def is_untold(self) -> bool:
        """Whether the last fold was of the whole log and died before it told of contradictions."""
        return bool(self.last_fold().get("untold"))

    def _listed_keys(self) -> list[str]:
        return [k for k in self.policy.keys if k not in self._unlisted]

    def _log_properties(self) -> dict[str, str]:
        listed = [*self._listed_keys(), "valid_from", "sequence", "recorded_at"]
        return {"delta.dataSkippingStatsColumns": ",".join(listed)}

    def properties(self) -> dict[str, str]:
        """The properties of the versions' table."""
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
