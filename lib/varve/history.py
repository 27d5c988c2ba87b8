"""History: the versions of an entity as a pure function of the changes that were observed. PURE.

`timeline` is the law, written plainly; the store's fast paths (`continuation`, `compared`) must give what it gives.
Semantics with pictures and examples: docs/history.md.

Shapes, beside the entity's own columns (scope_country, scope_entity, keys, attributes, overwritten columns):
* changes (the log): op string [upsert, delete, retract], valid_from timestamp, sequence [any orderable type, null =
  lowest], recorded_at timestamp, manifest string, contract_version string.
* versions: valid_from timestamp, valid_to timestamp [null = last], is_current, is_deleted, recorded_at timestamp,
  version_key bigint, row_hash bigint [of the tracked attributes], last_position struct<valid_from, sequence> [of the
  last row: the greatest position in the key's log], is_open boolean [valid_to is null].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from typing import TYPE_CHECKING, Final, Literal

from pyspark.sql import Column, DataFrame, Observation, Window
from pyspark.sql import functions as F

from varve.errors import ContractError
from varve.scope import SCOPE_COLUMNS

if TYPE_CHECKING:
    from pyspark.sql.window import WindowSpec

    from varve.contract import Contract

UPSERT: Final = "upsert"
DELETE: Final = "delete"
RETRACT: Final = "retract"

CHANGE_COLUMNS: Final = ("op", "valid_from", "sequence", "recorded_at", "manifest", "contract_version")
VERSION_COLUMNS: Final = (
    "valid_from", "valid_to", "is_current", "is_deleted", "recorded_at",
    "version_key", "row_hash", "last_position", "is_open",
)  # fmt: skip


RESERVED: Final = frozenset((*SCOPE_COLUMNS, *CHANGE_COLUMNS, *VERSION_COLUMNS, "record", "detail"))


@dataclass(frozen=True, slots=True)
class Policy:
    """How the changes of an entity are read.

    keys: the business keys; with the scope they are the identity. attributes: tracked, a new value opens a version.
    overwritten: not tracked, a version carries the last value of its run. tie_break: columns that order changes of one
    (valid_from, sequence). domain: `time` orders by valid_from; `sequence` orders by a sequence that has no time of its
    own, valid_from being the moment of extraction.
    """

    keys: tuple[str, ...]
    attributes: tuple[str, ...]
    overwritten: tuple[str, ...] = ()
    tie_break: tuple[str, ...] = ()
    domain: Literal["time", "sequence"] = "time"

    def __post_init__(self) -> None:
        if taken := sorted({*self.keys, *self.payload} & RESERVED):
            raise ContractError(
                f"columns {taken} have names that history needs itself", expected="other names for them"
            )
        if not self.keys:
            raise ContractError("an entity without a key has no history", expected="at least one key column")
        if unknown := set(self.tie_break) - set(self.payload):
            raise ContractError(f"tie-break columns {sorted(unknown)} are no columns of the entity", found=self.payload)

    @classmethod
    def of(cls, contract: Contract) -> Policy:
        """The policy that a silver contract states; its time and sequence columns are carried, not tracked."""
        rules = contract.history
        clock = {rules.valid_from, rules.sequence} if rules else set()
        values = [c for c in contract.columns if c.key_position is None]
        return cls(
            keys=contract.keys,
            attributes=tuple(c.name for c in values if c.tracked and c.name not in clock),
            overwritten=tuple(c.name for c in values if not c.tracked or c.name in clock),
            tie_break=rules.tie_break if rules else (),
            domain=rules.domain if rules else "time",
        )

    @property
    def identity(self) -> tuple[str, ...]:
        """Scope and keys."""
        return (*SCOPE_COLUMNS, *self.keys)

    @property
    def payload(self) -> tuple[str, ...]:
        """Tracked and overwritten columns."""
        return (*self.attributes, *self.overwritten)


# --- the law --------------------------------------------------------------------------------------------------


def timeline(changes: DataFrame, policy: Policy, *, ties: Observation | None = None) -> DataFrame:
    """The versions that a set of changes gives: any order, any repetition of the rows gives the same versions.

    ties: told how many statements contradict each other (`tied`), once the versions have been computed.
    """
    statements = _statements(changes, policy)
    if ties is not None:
        statements = statements.observe(ties, F.count(F.when(F.col("_verdict") == "tied", 1)).alias("tied"))
    return _versions(_shown(statements.filter("_verdict = 'accepted'"), policy), policy)


def quarantined(changes: DataFrame, policy: Policy) -> DataFrame:
    """The statements that contradict each other: same identity and position, different content.

    Returns (identity, payload, op, valid_from, sequence, recorded_at); the versions leave them all out.
    """
    tied = _statements(changes, policy).filter("_verdict = 'tied'")
    return tied.select(*policy.identity, *policy.payload, "op", "valid_from", "sequence", "recorded_at")


def _statements(changes: DataFrame, policy: Policy) -> DataFrame:
    """Every distinct statement of the changes with its verdict: accepted, tied, retracted or retract.

    Identical redeliveries are one statement, recorded when the first of them was; a retract removes what stands at its
    position with its content, without content all that stands there.
    """
    key = Window.partitionBy(*policy.identity)
    content = Window.partitionBy(*policy.identity, "_position", "_content")
    place = Window.partitionBy(*policy.identity, "_position")

    is_delete = F.col("op") == DELETE
    values = F.struct(*[F.when(~is_delete, F.col(c)).alias(c) for c in policy.payload]) if policy.payload else F.lit("")
    is_bare = reduce(Column.__and__, [F.col(f"_content.{c}").isNull() for c in policy.payload], F.lit(True))
    is_retract = F.col("op") == RETRACT

    distinct = (
        changes.repartition(*policy.identity)
        .withColumn("_position", _position(policy))
        .withColumn("last_position", _greatest("valid_from", "sequence", policy, key))
        .withColumn("_content", values)
        .groupBy(*policy.identity, "_position", "op", "_content")
        .agg(
            F.min("valid_from").alias("valid_from"),
            F.first("sequence").alias("sequence"),
            F.min("recorded_at").alias("recorded_at"),
            F.first("last_position").alias("last_position"),
        )
    )
    stands = ~is_retract & ~F.col("_is_retracted")
    return (
        distinct.withColumn(
            "_is_retracted",
            F.max(is_retract & is_bare).over(place)
            | F.coalesce(F.max(F.when(~is_delete, is_retract)).over(content) & ~is_delete, F.lit(False)),
        )
        .withColumn("_contents", F.count(F.when(stands, 1)).over(place))
        .select(
            *policy.identity,
            *[F.col(f"_content.{c}").alias(c) for c in policy.payload],
            "op", "valid_from", "sequence", "recorded_at", "_position", "last_position",
            F.when(is_retract, "retract")
            .when(F.col("_is_retracted"), "retracted")
            .when(F.col("_contents") > 1, "tied")
            .otherwise("accepted")
            .alias("_verdict"),
        )
    )  # fmt: skip


def _shown(statements: DataFrame, policy: Policy) -> DataFrame:
    """The statements that show in the life of their key, at most one per valid_from.

    Domain time: the greatest position of a valid_from. Domain sequence: a statement is hidden by any higher sequence
    that is not later than it.
    """
    life = Window.partitionBy(*policy.identity).orderBy(F.desc("_position"))
    if policy.domain == "time":
        instant = Window.partitionBy(*policy.identity, "valid_from").orderBy(F.desc("_position"))
        shown = statements.withColumn("_rank", F.row_number().over(instant)).filter("_rank = 1").drop("_rank")
    else:
        higher = F.min("valid_from").over(life.rowsBetween(Window.unboundedPreceding, -1))
        shown = (
            statements.withColumn("_hidden_from", higher)
            .filter("_hidden_from is null or valid_from < _hidden_from")
            .drop("_hidden_from")
        )
    return shown.select(
        *policy.identity, *policy.payload, "valid_from", "recorded_at", "last_position",
        (F.col("op") == DELETE).alias("is_deleted"),
        row_hash(policy.attributes).alias("row_hash"),
        F.lit(False).alias("_is_folded"),
    )  # fmt: skip


def _versions(states: DataFrame, policy: Policy) -> DataFrame:
    """Runs of equal states become versions: half-open intervals without gap, deleted stretches as tombstones.

    states: one row per (identity, valid_from): payload, recorded_at, is_deleted, row_hash, is_folded [the open row of a
    fold, whose tombstone already has its attributes], last_position.
    """
    key = Window.partitionBy(*policy.identity)
    life = key.orderBy("valid_from")
    so_far = life.rowsBetween(Window.unboundedPreceding, Window.currentRow)

    is_alive = ~F.col("is_deleted") | F.col("_is_folded")
    opens = (
        F.col("_prior_deleted").isNull()
        | (F.col("_prior_deleted") != F.col("is_deleted"))
        | (~F.col("is_deleted") & (F.col("_prior_hash") != F.col("row_hash")))
    )
    known = (
        states.withColumn("_was_seen", F.max(is_alive).over(so_far))
        .filter("_was_seen")  # a delete before anything was seen waits in the log
        .withColumn("_prior_deleted", F.lag("is_deleted").over(life))
        .withColumn("_prior_hash", F.lag("row_hash").over(life))
        .withColumn("_opens", opens)
    )
    if policy.overwritten:  # a run shows the last value of the columns that are not tracked
        run = Window.partitionBy(*policy.identity, "_run").orderBy("valid_from")
        whole = run.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
        known = known.withColumn("_run", F.sum(F.col("_opens").cast("int")).over(so_far))
        known = known.withColumns({c: F.last(c).over(whole) for c in policy.overwritten})

    inherits = F.col("is_deleted") & ~F.col("_is_folded")  # a tombstone carries the last attributes
    inherited = {c: F.when(inherits, F.lag(c).over(life)).otherwise(F.col(c)) for c in (*policy.payload, "row_hash")}
    is_open = F.col("valid_to").isNull()
    return (
        known.filter("_opens")
        .withColumn("valid_to", F.lead("valid_from").over(life))
        .withColumns(inherited)
        .select(
            *policy.identity, *policy.payload, "valid_from", "valid_to",
            (is_open & ~F.col("is_deleted")).alias("is_current"),
            "is_deleted", "recorded_at",
            version_key(policy).alias("version_key"),
            "row_hash",
            F.when(is_open, F.col("last_position")).alias("last_position"),
            is_open.alias("is_open"),
        )
    )  # fmt: skip


def _position(policy: Policy) -> Column:
    """The place of a change in the life of its key: two different changes cannot share it."""
    clock = ["sequence"] if policy.domain == "sequence" else ["valid_from", "sequence"]
    return F.struct(*clock, *policy.tie_break)


def _greatest(valid_from: str, sequence: str, policy: Policy, key: WindowSpec) -> Column:
    """The position behind which a change surely goes on: the greatest; in a sequence domain, of each part."""
    if policy.domain == "time":
        return F.max(F.struct(F.col(valid_from), F.col(sequence))).over(key)
    return F.struct(F.max(valid_from).over(key).alias("valid_from"), F.max(sequence).over(key).alias("sequence"))


def row_hash(attributes: Sequence[str]) -> Column:
    """A 64-bit hash of the tracked attributes: of each value that is not null, with the name of its column.

    A null adds nothing, so a column that a later contract adds leaves old hashes as they are; the name before the value
    keeps ('a', null, 'b') apart from ('a', 'b', null), which plain xxhash64 confuses.
    """
    parts = [part for c in attributes for part in (F.when(F.col(c).isNotNull(), F.lit(c)), F.col(c))]
    return F.xxhash64(F.lit(0), *parts)


def version_key(policy: Policy) -> Column:
    """A 64-bit key of a version: of its identity and its valid_from."""
    return F.xxhash64(*policy.identity, "valid_from")


# --- reading --------------------------------------------------------------------------------------------------


def is_valid_at(moment: datetime) -> str:
    """The SQL predicate of the live versions that were valid at a moment (UTC where it names no offset)."""
    at = f"timestamp '{moment if moment.tzinfo else moment.replace(tzinfo=UTC)}'"
    return f"valid_from <= {at} and (valid_to is null or valid_to > {at}) and not is_deleted"


def as_of(versions: DataFrame, valid_at: datetime) -> DataFrame:
    """The live rows that were valid at that moment (UTC)."""
    return versions.filter(is_valid_at(valid_at))


def as_known(changes: DataFrame, valid_at: datetime, known_at: datetime, policy: Policy) -> DataFrame:
    """The live rows that were valid at `valid_at` by what had been recorded by `known_at` (both UTC)."""
    return as_of(timeline(changes.filter(F.col("recorded_at") <= F.lit(known_at)), policy), valid_at)


def auto_cdc(versions: DataFrame) -> DataFrame:
    """The versions as Databricks AUTO CDC keeps them (SCD type 2), for moving there or from there.

    Returns the entity's own columns, __START_AT and __END_AT (null = last); a deleted stretch is a gap. There the two
    hold the sequence, here always valid_from and valid_to."""
    return versions.filter(AUTO_CDC_ROWS).selectExpr(*auto_cdc_columns(versions.columns))


AUTO_CDC_ROWS: Final = "not is_deleted"


def auto_cdc_columns(columns: Sequence[str]) -> list[str]:
    """Of the columns of versions, as SQL, those of `auto_cdc`."""
    own = [f"`{c}`" for c in columns if c not in VERSION_COLUMNS]
    return [*own, "valid_from as __START_AT", "valid_to as __END_AT"]


# --- folding --------------------------------------------------------------------------------------------------


def touched(pending: DataFrame, policy: Policy) -> DataFrame:
    """The identities that changes touch, with what decides how they are folded.

    Returns (identity, first_from, first_sequence, is_plain, has_delete), one row per identity; is_plain: no retract
    and no two different changes at one position, so that the changes can be put after the open row as they are."""
    statements = pending.select(
        *policy.identity, "op", "valid_from", "sequence", _position(policy).alias("_position"),
        F.when(F.col("op") != DELETE, row_hash(policy.payload)).alias("_content_hash"),
    ).repartition(*policy.identity).distinct()  # fmt: skip
    return statements.groupBy(*policy.identity).agg(
        F.min("valid_from").alias("first_from"),
        F.min("sequence").alias("first_sequence"),
        (~F.max(F.col("op") == RETRACT) & (F.count("*") == F.count_distinct("_position"))).alias("is_plain"),
        F.max(F.col("op") == DELETE).alias("has_delete"),
    )


def continues(policy: Policy) -> Column:
    """Whether changes lie after all that is in the key's log: over `touched` joined with the open row's
    last_position."""
    later = F.col("is_plain") & (F.col("first_from") > F.col("last_position.valid_from"))
    if policy.domain == "sequence":
        later = later & F.coalesce(F.col("first_sequence") > F.col("last_position.sequence"), F.lit(False))
    return later


def continuation(open_rows: DataFrame, pending: DataFrame, policy: Policy) -> DataFrame:
    """The versions that begin with the open rows and go on with later changes, all of one set of identities.

    open_rows: versions, at most one per identity; pending: changes that all lie behind it (see `continues`), or changes
    of identities without any earlier change. Equals the tail of `timeline` over the whole log of these identities.
    """
    later = _shown(_statements(pending, policy).filter("_verdict = 'accepted'"), policy)
    folded = open_rows.select(
        *policy.identity, *policy.payload, "valid_from", "recorded_at", "last_position", "is_deleted", "row_hash",
        F.lit(True).alias("_is_folded"),
    )  # fmt: skip
    states = folded.unionByName(later)
    newest = _greatest(
        "last_position.valid_from", "last_position.sequence", policy, Window.partitionBy(*policy.identity)
    )
    return _versions(states.withColumn("last_position", newest), policy)


# --- snapshots ------------------------------------------------------------------------------------------------


def compared(rows: DataFrame, live: DataFrame, policy: Policy, *, named: DataFrame | None = None) -> DataFrame:
    """What a snapshot says that the state before it does not.

    rows: the snapshot (identity, payload); live: the live rows of its scopes just before it; named: identities of
    which the log says something at the snapshot's own position, so that the snapshot must be written out beside it.
    An identity that the snapshot states twice with different content is returned with all its rows: the log shows the
    contradiction. Returns (identity, payload, op, _kind [inserted, changed, deleted, unchanged])."""
    names = list(policy.identity)
    key = Window.partitionBy(*names)
    hashed = rows.select(*names, *policy.payload, row_hash(policy.payload).alias("_new_hash"))
    new = hashed.withColumn("_is_twofold", F.min("_new_hash").over(key) != F.max("_new_hash").over(key))
    old = live.select(*names, row_hash(policy.payload).alias("_old_hash"))
    both = new.join(old, names, "full_outer")
    if named is not None:
        both = both.join(named.select(*names, F.lit(True).alias("_is_named")), names, "full_outer")
    is_named = F.coalesce("_is_named", F.lit(False)) if named is not None else F.lit(False)
    is_absent, was_absent = F.col("_new_hash").isNull(), F.col("_old_hash").isNull()
    same = (is_absent & was_absent) | F.coalesce(F.col("_new_hash") == F.col("_old_hash"), F.lit(False))
    kind = (
        F.when(same, "unchanged")
        .when(is_absent, "deleted")
        .when(was_absent, "inserted")
        .otherwise("changed")
        .alias("_kind")
    )
    op = F.when(is_absent, DELETE).otherwise(UPSERT).alias("op")
    return both.filter(~same | is_named | F.col("_is_twofold")).select(*names, *policy.payload, op, kind)


def bucket(policy: Policy, buckets: int) -> Column:
    """The bucket of an identity, 0 to buckets - 1."""
    return F.pmod(F.xxhash64(*policy.identity), F.lit(buckets)).cast("int")


def checksum(policy: Policy) -> Column:
    """The share of one row in its bucket's checksum; checksums add up, they are never combined by XOR."""
    return F.xxhash64(*policy.identity, row_hash(policy.payload))


# --- auditing -------------------------------------------------------------------------------------------------


def audit(versions: DataFrame, changes: DataFrame, policy: Policy) -> DataFrame:
    """What is wrong with versions: (identity, kind, detail), one row per identity and kind; nothing when all is well.

    Kinds: overlap, gap, zero_width, no_open_row, two_open_rows, wrong_flags, wrong_hash (the row's own columns
    contradict its row_hash), not_in_log (a version that the log does not give), missing (one that the log gives and
    that is absent)."""
    life = Window.partitionBy(*policy.identity).orderBy("valid_from", F.col("valid_to").asc_nulls_last())
    key = Window.partitionBy(*policy.identity)
    following = F.lead("valid_from").over(life)
    rows = (
        versions.withColumn("_next_from", following)
        .withColumn("_open_rows", F.count(F.when(F.col("valid_to").isNull(), 1)).over(key))
        .withColumn("_true_hash", row_hash(policy.attributes))
    )
    ends_late = F.col("valid_to").isNull() | (F.col("valid_to") > F.col("_next_from"))
    open_row = F.col("valid_to").isNull()
    flags = (F.col("is_open") == open_row) & (F.col("is_current") == (open_row & ~F.col("is_deleted")))
    findings = {
        "overlap": F.col("_next_from").isNotNull() & ends_late,
        "gap": F.col("_next_from").isNotNull() & (F.col("valid_to") < F.col("_next_from")),
        "zero_width": F.col("valid_to") <= F.col("valid_from"),
        "no_open_row": F.col("_open_rows") == 0,
        "two_open_rows": F.col("_open_rows") > 1,
        "wrong_flags": ~flags,
        "wrong_hash": ~F.col("row_hash").eqNullSafe(F.col("_true_hash")),
    }
    found = F.array_compact(F.array(*[F.when(test, F.lit(kind)) for kind, test in findings.items()]))
    own = rows.select(*policy.identity, "valid_from", F.explode(found).alias("kind"))
    compare = [c for c in versions.columns if c not in ("last_position", "row_hash")]
    lawful = timeline(changes, policy)
    key_columns = [*policy.identity, "valid_from"]
    extra = (
        versions.select(*compare)
        .exceptAll(lawful.select(*compare))
        .select(*key_columns, F.lit("not_in_log").alias("kind"))
    )
    absent = (
        lawful.select(*compare)
        .exceptAll(versions.select(*compare))
        .select(*key_columns, F.lit("missing").alias("kind"))
    )
    return (
        reduce(DataFrame.unionByName, (own, extra, absent))
        .groupBy(*policy.identity, "kind")
        .agg(
            F.concat(
                F.lit("at "), F.concat_ws(", ", F.sort_array(F.collect_set(F.col("valid_from").cast("string"))))
            ).alias("detail")
        )
    )


def of_identities(frame: DataFrame, identities: DataFrame, policy: Policy, *, keep: bool = True) -> DataFrame:
    """The rows of `frame` whose identity is in `identities` (or, keep=False, is not). Identities are few: broadcast."""
    names = list(policy.identity)
    return frame.join(F.broadcast(identities.select(*names)), names, "left_semi" if keep else "left_anti")
