"""History: the versions of an entity as a pure function of the changes that were observed. PURE.

`timeline` is the law, written plainly; the fast paths (`course`, `amended`, `compared`) must give what it gives.
Semantics with pictures and examples: docs/history.md.

Shapes, beside the entity's own columns (scope_country, scope_entity, keys, attributes, overwritten columns):
* changes (the log): op string [upsert, delete, retract, retract_null, restore], valid_from timestamp, sequence [any
  orderable type, null = lowest], recorded_at timestamp, manifest string, contract_version string.
* versions: valid_from timestamp, valid_to timestamp [null = last], is_current, is_deleted, recorded_at timestamp,
  version_key bigint, row_hash bigint [of the tracked attributes], last_position struct<valid_from, sequence> [of the
  last row: the greatest position in the key's log], is_open boolean [valid_to is null].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal
from zlib import crc32

from pyspark.sql import Column, DataFrame, Observation, Window
from pyspark.sql import functions as F

from varve.errors import ContractError
from varve.scope import SCOPE_COLUMNS

if TYPE_CHECKING:
    from pyspark.sql.window import WindowSpec

    from varve.contract import Contract

UPSERT: Final = "upsert"
DELETE: Final = "delete"
RETRACT: Final = "retract"  # of its content, without content of all at its position
RETRACT_NULL: Final = "retract_null"  # of the upsert whose every column is null
RESTORE: Final = "restore"  # an upsert that holds although its content was retracted before
CORRECTIONS: Final = (RETRACT, RETRACT_NULL, RESTORE)  # what speaks of another statement

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
    def order(self) -> tuple[str, ...]:
        """The columns that order statements across keys."""
        return ("sequence",) if self.domain == "sequence" else ("valid_from", "sequence")

    @property
    def payload(self) -> tuple[str, ...]:
        """Tracked and overwritten columns."""
        return (*self.attributes, *self.overwritten)


_BESIDE: Final = (
    "_is_folded",
    "_is_extended",
    "_follows_folded",
    "_next_deleted",
    "_next_recorded_at",
    "_next_to",
    "_newest",
)  # what `_versions` tells of a row


# --- the law --------------------------------------------------------------------------------------------------


def timeline(changes: DataFrame, policy: Policy, *, seen: Observation | None = None) -> DataFrame:
    """The versions that a set of changes gives: any order, any repetition of the rows gives the same versions.

    seen: told, once the versions have been computed, how many statements contradict each other (`tied`) and how many
    may leave their key without a version (`doubtful`: deletes, and all that is not accepted).
    """
    statements = _observed(_statements(changes, policy), seen)
    versions = _versions(_shown(statements.filter("_verdict = 'accepted'"), policy), policy)
    return versions.drop(*_BESIDE)


def quarantined(changes: DataFrame, policy: Policy, *, told_by: DataFrame | None = None) -> DataFrame:
    """The statements that contradict each other: same identity and position, different content.

    told_by: changes; only of the positions that they speak of, so that what is known already is not told again.
    Returns (identity, payload, op, valid_from, sequence, recorded_at); the versions leave them all out.
    """
    tied = _statements(changes, policy).filter("_verdict = 'tied'")
    if told_by is not None:
        told = told_by.select(*policy.identity, _position(policy).alias("_position")).distinct()
        tied = tied.withColumn("_position", _position(policy)).join(told, told.columns, "left_semi")
    return tied.select(*policy.identity, *policy.payload, "op", "valid_from", "sequence", "recorded_at")


def standing(changes: DataFrame, policy: Policy, *, gone: bool = False) -> DataFrame:
    """The statements that nothing retracts, those that contradict each other among them; or those that are retracted.

    Returns (identity, payload, op [upsert, delete], valid_from, sequence), each once. Of the payload of deletes only
    what is part of their position is there, the rest is null.
    """
    verdicts = ("retracted",) if gone else ("accepted", "tied")
    said = _statements(changes, policy).filter(F.col("_verdict").isin(*verdicts))
    kept = {c: (F.col("op") != DELETE) | F.lit(c in policy.tie_break) for c in policy.payload}
    payload = (F.when(is_kept, F.col(c)).alias(c) for c, is_kept in kept.items())
    return said.select(*policy.identity, *payload, "op", "valid_from", "sequence")


def retraction(policy: Policy) -> Column:
    """The op that retracts a statement of this payload and no other: without content a plain retract means all."""
    return F.when(_is_null(policy), RETRACT_NULL).otherwise(RETRACT)


def _observed(statements: DataFrame, seen: Observation | None) -> DataFrame:
    """The statements, which tell an observation of themselves on their way; see `timeline`."""
    if seen is None:
        return statements
    is_doubtful = (F.col("op") == DELETE) | ~F.col("_verdict").isin("accepted", "repeated")
    return statements.observe(
        seen,
        F.count(F.when(F.col("_verdict") == "tied", 1)).alias("tied"),
        F.count(F.when(is_doubtful, 1)).alias("doubtful"),
    )


def _statements(changes: DataFrame, policy: Policy, *, carried: Sequence[str] | None = None) -> DataFrame:
    """Every statement of the changes with its verdict: accepted, tied, retracted, retract or repeated.

    Identical redeliveries are one statement, recorded when the first of them was; a retract removes what stands at its
    position with its content, without content all that stands there, unless a restore of that content was recorded
    later. What a delete carries is no content.
    carried: the columns of the payload that are wanted, those that break ties among them; None: all.
    """
    carried = policy.payload if carried is None else carried
    place = [*policy.identity, *_place(policy)]
    key, position, content = (Window.partitionBy(*names) for names in (policy.identity, place, [*place, "_content"]))
    is_retract, is_delete = F.col("op").isin(RETRACT, RETRACT_NULL), F.col("op") == DELETE
    copies = content.orderBy(is_retract, "recorded_at")
    all_copies = copies.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    is_bare = (F.col("op") == RETRACT) & _is_null(policy)
    is_first = ~is_retract & (F.col("_copy") == 1)
    gone_at = F.greatest("_retracted_at", "_voided_at")  # of the two that are not null
    is_retracted = gone_at.isNotNull() & ~F.coalesce(F.col("_restored_at") > gone_at, F.lit(False))
    said = row_hash(policy.payload) if policy.overwritten else F.col("row_hash")
    hashed = changes.withColumn("row_hash", row_hash(policy.attributes)).select(
        *policy.identity, *carried, "op", "valid_from", "sequence", "recorded_at", "row_hash",
        F.when(~is_delete, said).alias("_content"), is_bare.alias("_is_bare"),
    )  # fmt: skip

    return (
        hashed.repartition(*policy.identity)  # this shuffle and one sort serve every window below
        .withColumns(
            {
                "_copy": F.row_number().over(copies),
                "_earliest": F.min(F.when(~is_retract, F.col("valid_from"))).over(all_copies),
                "_retracted_at": F.max(F.when(is_retract, F.col("recorded_at"))).over(all_copies),
                "_restored_at": F.max(F.when(F.col("op") == RESTORE, F.col("recorded_at"))).over(all_copies),
            }
        )
        .withColumn("_voided_at", F.max(F.when(F.col("_is_bare"), F.col("recorded_at"))).over(position))
        .withColumn("_is_retracted", is_retracted)
        .withColumn("_contents", F.count(F.when(is_first & ~F.col("_is_retracted"), 1)).over(position))
        .withColumn("last_position", _greatest(key))
        .withColumn(
            "_verdict",
            F.when(is_retract, "retract")
            .when(F.col("_copy") > 1, "repeated")
            .when(F.col("_is_retracted"), "retracted")
            .when(F.col("_contents") > 1, "tied")
            .otherwise("accepted"),
        )
        .select(
            *policy.identity, *carried, F.when(F.col("op") == RESTORE, UPSERT).otherwise(F.col("op")).alias("op"),
            # of a number extracted twice the earliest extraction is its time
            (F.col("_earliest") if policy.domain == "sequence" else F.col("valid_from")).alias("valid_from"),
            "sequence", "recorded_at", "row_hash", "last_position", "_verdict",
        )
    )  # fmt: skip


def _shown(statements: DataFrame, policy: Policy) -> DataFrame:
    """The statements that show in the life of their key, at most one per valid_from.

    Domain time: the greatest position of a valid_from. Domain sequence: a statement is hidden by any higher sequence
    that is not later than it.
    """
    key = Window.partitionBy(*policy.identity)
    if policy.domain == "time":
        hidden_from = F.lead("valid_from").over(key.orderBy(*_place(policy)))
    else:
        higher = key.orderBy(*(F.desc(c) for c in _place(policy))).rowsBetween(Window.unboundedPreceding, -1)
        hidden_from = F.min("valid_from").over(higher)
    return (
        statements.withColumn("_hidden_from", hidden_from)
        .filter("_hidden_from is null or valid_from < _hidden_from")
        .select(
            *policy.identity, *_carried(statements, policy), "valid_from", "recorded_at", "last_position",
            (F.col("op") == DELETE).alias("is_deleted"),
            "row_hash",
            F.lit(False).alias("_is_folded"),
        )
    )  # fmt: skip


def _versions(states: DataFrame, policy: Policy) -> DataFrame:
    """Runs of equal states become versions: half-open intervals without gap, deleted stretches as tombstones.

    states: one row per (identity, valid_from): payload or a part of it, recorded_at, is_deleted, row_hash,
    last_position, _is_folded [the open row of a fold, whose tombstone already has its attributes].
    Returns versions, and of each: _is_folded, _is_extended [its overwritten columns come from a later state]; whether
    the one before it is folded; whether the one behind it is a tombstone, when that was recorded and when it ends; the
    greatest position of the key.
    """
    life = Window.partitionBy(*policy.identity).orderBy("valid_from")
    opens = (
        F.col("_prior_deleted").isNull()
        | (F.col("_prior_deleted") != F.col("is_deleted"))
        | (~F.col("is_deleted") & (F.col("_prior_hash") != F.col("row_hash")))
    )
    runs = (
        states.withColumn("_prior_deleted", F.lag("is_deleted").over(life))
        .withColumn("_prior_hash", F.lag("row_hash").over(life))
        .withColumn("_opens", opens)
    )
    if policy.overwritten:  # a run shows the last value of the columns that are not tracked
        so_far = life.rowsBetween(Window.unboundedPreceding, Window.currentRow)
        whole = (
            Window.partitionBy(*policy.identity, "_run")
            .orderBy("valid_from")
            .rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
        )
        runs = runs.withColumn("_run", F.sum(F.col("_opens").cast("int")).over(so_far))
        last = {c: F.last(c).over(whole) for c in policy.overwritten}
        runs = runs.withColumns({**last, "_is_extended": ~F.col("is_deleted") & (F.count("*").over(whole) > 1)})
    else:
        runs = runs.withColumn("_is_extended", F.lit(False))

    inherits = F.col("is_deleted") & ~F.col("_is_folded")  # a tombstone carries the last attributes
    carried = _carried(states, policy)
    inherited = {c: F.when(inherits, F.lag(c).over(life)).otherwise(F.col(c)) for c in (*carried, "row_hash")}
    is_first = F.col("_follows_folded").isNull()
    is_open = F.col("valid_to").isNull()
    return (
        runs.filter("_opens")
        .withColumns(
            {
                **inherited,
                "valid_to": F.lead("valid_from").over(life),
                "_follows_folded": F.lag("_is_folded").over(life),
                "_next_deleted": F.lead("is_deleted").over(life),
                "_next_recorded_at": F.lead("recorded_at").over(life),
                "_next_to": F.lead("valid_from", 2).over(life),
                "_newest": F.col("last_position"),
            }
        )
        .filter(~(is_first & inherits))  # a delete before anything was seen waits in the log
        .select(
            *policy.identity, *carried, "valid_from", "valid_to",
            (is_open & ~F.col("is_deleted")).alias("is_current"),
            "is_deleted", "recorded_at",
            version_key(policy).alias("version_key"),
            "row_hash",
            F.when(is_open, F.col("last_position")).alias("last_position"),
            is_open.alias("is_open"),
            *_BESIDE,
        )
    )  # fmt: skip


def _is_null(policy: Policy) -> Column:
    """Whether every column of the payload is null."""
    return F.expr(" and ".join(["true", *(f"`{c}` is null" for c in policy.payload)]))


def _carried(frame: DataFrame, policy: Policy) -> list[str]:
    return [c for c in policy.payload if c in frame.columns]


def _place(policy: Policy) -> list[str]:
    """The columns that place a change in the life of its key: two different changes cannot share one place."""
    return [*policy.order, *policy.tie_break]


def _position(policy: Policy) -> Column:
    return F.struct(*_place(policy))


def _greatest(key: WindowSpec | None = None) -> Column:
    """The position behind which a change surely goes on: the greatest time and the greatest sequence that were said.

    In a time domain only the time decides, and its sequence is that of the changes of the last fold.
    """
    greatest = {c: F.max(c) if key is None else F.max(c).over(key) for c in ("valid_from", "sequence")}
    return F.struct(*(value.alias(c) for c, value in greatest.items()))


HASH: Final = 2  # the way of `row_hash`: versions that were folded with another are made anew


def row_hash(attributes: Sequence[str]) -> Column:
    """A 64-bit hash of the tracked attributes: of each value that is not null, with a number made of its column's name.

    A null adds nothing, so a column that a later contract adds leaves old hashes as they are; the number before the
    value keeps ('a', null, 'b') apart from ('a', 'b', null), which plain xxhash64 confuses.
    """
    named = [f"case when `{c}` is not null then {crc32(c.encode()) - 2**31} end, `{c}`" for c in attributes]
    return F.expr(f"xxhash64({', '.join(['0', *named])})")


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

    Returns (identity, first_from, first_sequence, is_plain), one row per identity; is_plain: no correction, no two
    different changes at one position, and where a sequence orders them none without one, which would be the lowest: so
    that the changes can be put after the open row as they are.
    """
    content = F.when(F.col("op") != DELETE, row_hash(policy.payload)).alias("_content")
    statements = pending.select(
        *policy.identity, "op", "valid_from", "sequence", _position(policy).alias("_position"), content
    )
    is_plain = ~F.max(F.col("op").isin(*CORRECTIONS)) & (F.count("*") == F.count_distinct("_position"))
    if policy.domain == "sequence":
        is_plain &= F.count("*") == F.count("sequence")
    return (
        statements.repartition(*policy.identity)
        .distinct()
        .groupBy(*policy.identity)
        .agg(
            F.min("valid_from").alias("first_from"),
            F.min("sequence").alias("first_sequence"),
            is_plain.alias("is_plain"),
        )
    )


def continues(policy: Policy) -> Column:
    """Whether changes lie after all that is in the key's log: over `touched` joined with the open row's
    last_position."""
    later = F.col("is_plain") & (F.col("first_from") > F.col("last_position.valid_from"))
    if policy.domain == "sequence":
        later = later & F.coalesce(F.col("first_sequence") > F.col("last_position.sequence"), F.lit(False))
    return later


OLD_KEY: Final = "_old_key"  # version_key of the row that a row replaces, null of a new one


def course(
    open_rows: DataFrame, pending: DataFrame, policy: Policy, *, by: Sequence[str], seen: Observation | None = None
) -> DataFrame:
    """How open rows go on with later changes: what `amended` makes of them, small beside them and worth keeping.

    open_rows: versions, at most one per identity, all touched ones among them; pending: changes that lie behind the
    open row of their key (see `continues`) or belong to a key without any earlier change; by: what tells the identities
    of these rows apart, the keys alone when all are of one scope (a join on one number is the cheapest); seen: told
    of the changes what `timeline` tells.
    Returns the touched open rows without their values, and the versions that follow with theirs. Of the open rows three
    narrow columns are read; of the changes too only narrow ones are sorted.
    """
    names = list(policy.identity)
    # The attributes stay behind: `row_hash` stands for them.
    carried = [c for c in policy.payload if c in (*policy.overwritten, *policy.tie_break)]
    statements = _observed(_statements(pending, policy, carried=carried), seen)
    states = _shown(statements.filter("_verdict = 'accepted'"), policy)
    # What is tied or retracted counts in the greatest position of its key.
    newest = pending.groupBy(*names).agg(_greatest().alias("last_position")).select(*by, "last_position")
    folded = open_rows.select(*names, "is_deleted", "row_hash").join(F.broadcast(newest), list(by))
    own = [*names, "is_deleted", "row_hash", "last_position"]
    # An open row comes first in what follows; its time and values are not needed, they stay where they are.
    unknown = [F.lit(None).cast(states.schema[c].dataType).alias(c) for c in states.columns if c not in own]
    known = folded.select(*own, *unknown).withColumn("_is_folded", F.lit(True))
    steps = _versions(known.unionByName(states), policy)
    return steps.join(_values(pending, policy, by), [*by, "row_hash"], "left")


def _values(pending: DataFrame, policy: Policy, by: Sequence[str]) -> DataFrame:
    """The tracked attributes that a row hash stands for: (by, row_hash, _values struct)."""
    said = pending.filter(F.col("op").isin(UPSERT, RESTORE))
    said = said.select(
        *by, row_hash(policy.attributes).alias("row_hash"), F.struct(*policy.attributes).alias("_values")
    )
    return said.groupBy(*by, "row_hash").agg(F.first("_values").alias("_values"))


def amended(versions: DataFrame, course: DataFrame, policy: Policy, *, by: Sequence[str]) -> DataFrame:
    """Versions and what the course of their open rows makes of them; equals `timeline` over the whole logs.

    Closed rows and untouched open ones come out as they are. No row is shuffled: each is passed through once, beside a
    broadcast; an open row that a deletion follows is followed by its tombstone. Returns the columns of versions and
    OLD_KEY."""
    becomes = course.filter("_is_folded").selectExpr(
        *(f"`{c}` as `_of_{c}`" for c in by), *(f"`{c}` as `_last_{c}`" for c in policy.overwritten), "_is_folded",
        "_is_extended", "_next_deleted", "_next_recorded_at", "_next_to", "valid_to as _now_to", "_newest",
    )  # fmt: skip
    is_same = F.expr(" and ".join(["is_open", *(f"`{c}` = `_of_{c}`" for c in by)]))
    # Where the columns are null, no row follows. Tests of the stored is_open stay, so that a reader of current rows
    # leaves the files of closed ones alone.
    identity = ", ".join(f"`{c}`" for c in policy.identity)
    is_open, is_deleted = "(is_open and _ends is null)", "(_is_tombstone or is_deleted)"
    amends = {
        "valid_from": "if(_is_tombstone, _now_to, valid_from)",
        "valid_to": "_ends",
        "is_open": is_open,
        "is_deleted": is_deleted,
        "is_current": f"{is_open} and not {is_deleted}",
        "recorded_at": "if(_is_tombstone, _next_recorded_at, recorded_at)",
        "version_key": f"if(_is_tombstone, xxhash64({identity}, _now_to), version_key)",
        "last_position": "if(_ends is null, if(_is_folded, _newest, last_position), null)",
        **{c: f"if(_is_extended, `_last_{c}`, `{c}`)" for c in policy.overwritten},
    }
    rows = (
        versions.join(F.broadcast(becomes), is_same, "left")
        .selectExpr("*", "explode(if(_next_deleted, array(false, true), array(false))) as _is_tombstone")
        .selectExpr(
            "*", "case when _is_tombstone then _next_to when _is_folded then _now_to else valid_to end as _ends"
        )
        .selectExpr(
            *(f"{amends.get(c, f'`{c}`')} as `{c}`" for c in versions.columns),
            f"if(_is_tombstone, null, version_key) as {OLD_KEY}",
        )
    )
    is_heir = F.col("is_deleted") & F.coalesce("_follows_folded", F.lit(False))  # its row brings it along
    new = course.filter(~F.col("_is_folded") & ~is_heir)
    others = [c for c in versions.columns if c not in policy.attributes]
    return rows.unionByName(new.select(*others, "_values.*", F.lit(None).cast("bigint").alias(OLD_KEY)))


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
    """The bucket of an identity within its scope, 0 to buckets - 1."""
    return F.pmod(F.xxhash64(*policy.keys), F.lit(buckets)).cast("int")


def checksum(policy: Policy) -> Column:
    """The share of one row in its bucket's checksum; checksums add up, they are never combined by XOR."""
    return F.xxhash64(*policy.keys, row_hash(policy.payload))


# --- expiring -------------------------------------------------------------------------------------------------


def behind(changes: DataFrame, moment: datetime, policy: Policy) -> DataFrame:
    """The changes at positions of which something was said before a moment (UTC).

    Domain time: all of a position has one valid_from. Domain sequence: one number may have been extracted at several
    times, and what is said of it belongs together.
    """
    at = F.lit(moment)
    if policy.domain == "time":
        return changes.filter(F.col("valid_from") < at)
    return _aged(changes, policy).filter(F.col("_oldest") < at).drop("_position", "_oldest")


def expired(changes: DataFrame, moment: datetime, policy: Policy) -> DataFrame:
    """Changes that say of every time from `moment` (UTC) on what `changes` say, without what lies before it.

    What a key's changes before the moment come to is one anchor, an ordinary upsert: the version that is open just
    before the moment, with its own valid_from and recorded_at. A key that does not live then needs none: before its
    first statement there is nothing. What cannot show any more is left out: what is tied, retracted or hidden for good.
    """
    names, at = list(policy.identity), F.lit(moment)
    said = behind(changes, moment, policy) if policy.domain == "time" else changes
    accepted = _statements(said, policy).filter("_verdict = 'accepted'").withColumn("_position", _position(policy))
    earlier = accepted.filter(F.col("valid_from") < at)
    newest_first = Window.partitionBy(*names).orderBy(F.desc("_position"))
    last = earlier.withColumn("_rank", F.row_number().over(newest_first)).filter("_rank = 1")

    clock = ("op", "valid_from", "sequence", "recorded_at")
    opened = timeline(earlier.select(*names, *policy.payload, *clock), policy).filter("is_current")
    # What opened the version: it says the same, recorded when the version was, and at its time; of a number that was
    # extracted twice one row may give the time and another the knowledge.
    opener = [*names, "row_hash", "recorded_at", *(["valid_from"] if policy.domain == "time" else [])]
    told = F.min(F.struct("manifest", "contract_version")).alias("_told")
    upserts = said.filter(F.col("op").isin(UPSERT, RESTORE)).withColumn("row_hash", row_hash(policy.attributes))
    anchors = (
        opened.join(last.select(*names, "sequence"), names)
        .join(upserts.groupBy(*opener).agg(told), opener, "left")
        .select(
            *names, *policy.payload, F.lit(UPSERT).alias("op"), "valid_from", "sequence", "recorded_at",
            F.col("_told.manifest").alias("manifest"), F.col("_told.contract_version").alias("contract_version"),
        )
    )  # fmt: skip
    if policy.domain == "time":
        later = changes.filter(F.col("valid_from") >= at)
    else:
        alive = accepted.select(*names, "_position", F.lit(True).alias("_is_alive"))
        follows = F.col("_last").isNull() | (F.col("_position") > F.col("_last"))
        later = (
            _aged(changes, policy)
            .join(last.select(*names, F.col("_position").alias("_last")), names, "left")
            .join(alive, [*names, "_position"], "left")
            .filter(follows & ((F.col("_oldest") >= at) | F.col("_is_alive")))
        )
    return later.select(changes.columns).unionByName(anchors, allowMissingColumns=True)


def _aged(changes: DataFrame, policy: Policy) -> DataFrame:
    """Changes with their position and the earliest time that anything at that position has."""
    place = Window.partitionBy(*policy.identity, "_position")
    return changes.withColumn("_position", _position(policy)).withColumn("_oldest", F.min("valid_from").over(place))


# --- auditing -------------------------------------------------------------------------------------------------


def audit(versions: DataFrame, changes: DataFrame, policy: Policy) -> DataFrame:
    """What is wrong with versions: (identity, kind, detail), one row per identity and kind; nothing when all is well.

    Kinds: overlap, gap, zero_width, no_open_row, two_open_rows, wrong_flags, wrong_hash (the row's own columns
    contradict its row_hash), not_in_log (a version that the log does not give), missing (one that the log gives and
    that is absent), low_position (last_position is below what the key's log has seen: late changes would be folded as
    if on time; one above it is lawful, for an expiry takes positions out of the log)."""
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
    stored = versions.select(*compare, F.col("last_position").alias("_has"), F.lit(1).alias("_count"))
    lawful = timeline(changes, policy).select(*compare, F.col("last_position").alias("_due"), F.lit(-1).alias("_count"))
    surplus, is_low = F.sum("_count"), ~F.coalesce(_reaches(F.min("_has"), F.max("_due"), policy), F.lit(False))
    kind = (
        F.when(surplus > 0, "not_in_log").when(surplus < 0, "missing").when(F.col("is_open") & is_low, "low_position")
    )
    beside = (
        stored.unionByName(lawful, allowMissingColumns=True)
        .groupBy(*compare)
        .agg(kind.alias("kind"))
        .filter("kind is not null")
        .select(*policy.identity, "valid_from", "kind")
    )
    return (
        own.unionByName(beside)
        .groupBy(*policy.identity, "kind")
        .agg(
            F.concat(
                F.lit("at "), F.concat_ws(", ", F.sort_array(F.collect_set(F.col("valid_from").cast("string"))))
            ).alias("detail")
        )
    )


def _reaches(position: Column, other: Column, policy: Policy) -> Column:
    """Whether a last_position is not below another, in what `continues` compares; nulls lowest."""
    reaches = position["valid_from"] >= other["valid_from"]
    if policy.domain == "sequence":
        reaches &= other["sequence"].isNull() | (position["sequence"] >= other["sequence"])
    return reaches


def of_identities(frame: DataFrame, identities: DataFrame, by: Sequence[str], *, keep: bool = True) -> DataFrame:
    """The rows of `frame` whose identity is in `identities` (or, keep=False, is not). Identities are few: broadcast.

    by: what tells identities apart, the keys alone when all rows are of one scope.
    """
    return frame.join(F.broadcast(identities.select(*by)), list(by), "left_semi" if keep else "left_anti")
