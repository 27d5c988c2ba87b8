"""The two Delta tables of one entity's history: where they lie, how their rows look, what their commits say.

* `silver/<entity>_changes`, the log: append-only, partitioned by scope and `record`: `change`; `snapshot` (one row per
  accepted snapshot and scope); `excluded` (identities that a snapshot holds and says nothing valid about); `waiting`
  (identities that have changes and no version: the next change reads their log); `horizon` (what has expired).
* `silver/<entity>`, the versions: partitioned by scope and `is_open`. Its transaction `fold` is the version of the log
  that is folded in: the watermark, committed with the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Self

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from varve import history
from varve.history import Policy
from varve.model.columns import CHANGE_COLUMNS, VERSION_COLUMNS
from varve.model.contract import Contract
from varve.model.errors import ContractError
from varve.model.scope import SCOPE_COLUMNS
from varve.privacy.pseudonyms import silver_schema
from varve.raw.batch import Batch, Load, transaction
from varve.storage.commits import Commit
from varve.storage.delta import Store

FOLD: Final = "fold"  # the transaction of the versions
ROLES: Final = {"keys": "a key", "tracked": "tracked", "overwritten": "overwritten"}  # of columns: in notes, to people

# That an integer may need.
_DIGITS: Final[Mapping[type[T.DataType], int]] = {T.ByteType: 3, T.ShortType: 5, T.IntegerType: 10, T.LongType: 19}

# Given the version of the log that is folded, and statements that contradict each other.
OnContradiction = Callable[[int, tuple[Row, ...]], None]


def _to_nobody(_head: int, _statements: tuple[Row, ...]) -> None:
    """Contradictions are reported to whoever folds, by `Fold.quarantined` alone."""


class Tables:
    """The log and the versions of one entity, as they are stored."""

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
        self.schema, self._unlisted = schema, unlisted
        self._knows_keys = False  # whether the log's keys are those of the policy

    @classmethod
    def of(cls, store: Store, contract: Contract, on_contradiction: OnContradiction = _to_nobody) -> Self:
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

    # --- rows -------------------------------------------------------------------------------------------------

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
        clock = [c for c in stored if c in (*CHANGE_COLUMNS, *VERSION_COLUMNS, "record")]
        types = {f.name: f.dataType for f in self.schema or ()}
        own = [
            self.as_contracted(stored[c]) if c in stored else F.lit(None).cast(types[c]).alias(c)
            for c in (*self.policy.keys, *self.policy.payload)
        ]
        return rows.select(*SCOPE_COLUMNS, *own, *clock)

    def as_contracted(self, field: T.StructField) -> Column | str:
        """A column in the type of the contract; raises ContractError when that cannot hold what the column holds.

        A float becomes the double of its shortest text, which is what its source said: 0.1 stays 0.1."""
        was = field.dataType
        now = next((f.dataType for f in self.schema or () if f.name == field.name), was)
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

    def as_log(self, changes: DataFrame) -> DataFrame:
        """Changes as rows of the log."""
        p = self.policy
        return changes.select(
            *p.identity, *p.payload, *CHANGE_COLUMNS,
            F.lit(None).cast("string").alias("detail"), F.lit("change").alias("record"),
        )  # fmt: skip

    def log_schema(self, like: DataFrame | None) -> T.StructType:
        """The schema of the log's rows; `like` has the entity's columns of a log that is not there yet."""
        if like is None or self.store.exists(self.layer, self.log_table):
            logged = {f.name: f for f in self.store.read(self.layer, self.log_table).schema}
        else:
            logged = {}
        stated = [*(like.schema if like is not None else ()), *(self.schema or ())]
        own = {f.name: T.StructField(f.name, f.dataType) for f in stated}  # all nullable
        clock = {"valid_from": T.TimestampType(), "recorded_at": T.TimestampType(), "sequence": T.LongType()}
        p = self.policy
        names = [*p.identity, *p.payload, *CHANGE_COLUMNS, "detail", "record"]
        return T.StructType(
            [logged.get(n) or own.get(n) or T.StructField(n, clock.get(n, T.StringType())) for n in names]
        )

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

    # --- appending --------------------------------------------------------------------------------------------

    def append_batch(self, rows: DataFrame, batch: Batch, kind: str) -> Commit:
        """Log rows that say something about entities; rows: the columns of the log; kind: of the commit's note."""
        return self.store.append(
            rows, self.layer, self.log_table, txn=transaction(self.layer, self.log_table), version=batch.number,
            is_fenced=True, note={**self.log_note(kind), **batch.note()}, partition_by=(*SCOPE_COLUMNS, "record"),
            properties=self.log_properties(),
        )  # fmt: skip

    def append_marks(self, rows: DataFrame, *, txn: str, version: int, kind: str) -> Commit:
        """Log what the table itself needs to know; the second time is a no-op. rows: the columns of the log."""
        return self.store.append(
            rows, self.layer, self.log_table, txn=txn, version=version, note={"kind": kind},
            partition_by=(*SCOPE_COLUMNS, "record"), properties=self.log_properties(),
        )  # fmt: skip

    def log_note(self, kind: str) -> dict[str, Any]:
        """What a commit of the log says of itself."""
        return {"kind": kind, "keys": list(self.policy.keys)}

    # --- how far the versions are -----------------------------------------------------------------------------

    def head(self) -> int | None:
        """The version of the log, None when there is none."""
        return self.store.version(self.layer, self.log_table)

    def watermark(self, *, version: int | None = None) -> int | None:
        """The version of the log that is folded in, None when none is; as of a version of the versions."""
        return self.store.transaction(self.layer, self.entity, FOLD, version=version)

    def is_folded(self) -> bool:
        """Whether the versions are what the log gives under the contract; no Spark job."""
        head = self.head()
        return head is None or (head == self.watermark() and not self.reason_to_rebuild() and not self.has_unreported())

    def is_marked(self, *, version: int | None = None) -> bool:
        """Whether all identities without a version are marked, so that an unmarked one without an open row is new."""
        return bool(self.last_fold(version=version).get("marked"))

    def has_unreported(self) -> bool:
        """Whether the last fold was of the whole log and died before it reported contradictions."""
        return bool(self.last_fold().get("unreported"))

    def reason_to_rebuild(self, *, version: int | None = None) -> str | None:
        """Why the versions must be rebuilt from the whole log; None when they need not.

        The contract has other columns or types than at the last fold, or another order of changes. version: of the
        versions.

        A column that the log did not have at the fold is no reason: it is null in every row before it, and a null adds
        nothing to a hash. One that the log had, untracked or out of the contract, is a reason.
        """
        if self.store.is_restored(self.layer, self.entity):  # their watermark was not, as Delta restores no transaction
            return "the versions were restored to an older version"
        note = self.last_fold(version=version)
        if "tracked" not in note or self.schema is None:
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
        types = {f.name: f.dataType.simpleString() for f in self.schema or ()}
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

    # --- properties of the Delta tables -----------------------------------------------------------------------

    def _listed_keys(self) -> list[str]:
        return [k for k in self.policy.keys if k not in self._unlisted]

    def log_properties(self) -> dict[str, str]:
        """The properties of the log's table."""
        listed = [*self._listed_keys(), "valid_from", "sequence", "recorded_at", "manifest"]
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
