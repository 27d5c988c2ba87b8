"""The law: the versions of an entity as a pure function of the changes that were observed, written plainly.

`timeline` is the law; whatever else makes versions is built from its three steps and must give what it gives: every
statement with its verdict (`judged`), those that show (`shown`), and what they come to (`versions_of`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from zlib import crc32

from pyspark.sql import Column, DataFrame, Observation, Window
from pyspark.sql import functions as F

from varve.history.policy import (
    DELETE,
    OF_DELETES,
    RESTORE,
    RESTORE_DELETE,
    RESTORES,
    RETRACT,
    RETRACT_DELETE,
    RETRACT_NULL,
    RETRACTS,
    UPSERT,
    Policy,
)

if TYPE_CHECKING:
    from pyspark.sql.window import WindowSpec

_BESIDE: Final = (
    "_is_folded",
    "_is_extended",
    "_follows_folded",
    "_next_deleted",
    "_next_recorded_at",
    "_next_sequence",
    "_next_to",
    "_newest",
)  # what `versions_of` says of a row


def timeline(changes: DataFrame, policy: Policy, *, seen: Observation | None = None) -> DataFrame:
    """The versions that a set of changes gives: any order, any repetition of the rows gives the same versions.

    seen: holds, once the versions have been computed, how many statements contradict each other (`tied`) and how many
    may leave their key without a version (`doubtful`: deletes, and all that is not accepted).
    """
    statements = observed(judged(changes, policy), seen)
    versions = versions_of(shown(statements.filter("_verdict = 'accepted'"), policy), policy)
    return versions.drop(*_BESIDE)


def quarantined(changes: DataFrame, policy: Policy, *, only_at: DataFrame | None = None) -> DataFrame:
    """The statements that contradict each other: same identity and position, different content.

    only_at: changes; only of the positions that they speak of, so that what is known already is not reported again.
    Returns (identity, payload, op, valid_from, sequence, recorded_at); the versions leave them all out.
    """
    tied = judged(changes, policy).filter("_verdict = 'tied'")
    if only_at is not None:
        places = only_at.select(*policy.identity, position_of(policy).alias("_position")).distinct()
        tied = tied.withColumn("_position", position_of(policy)).join(places, places.columns, "left_semi")
    return tied.select(*policy.identity, *policy.payload, "op", "valid_from", "sequence", "recorded_at")


def standing(changes: DataFrame, policy: Policy, *, gone: bool = False) -> DataFrame:
    """The statements that nothing retracts, those that contradict each other among them; or those that are retracted.

    Returns (identity, payload, op [upsert, delete], valid_from, sequence), each once. Of the payload of deletes only
    what is part of their position is there, the rest is null.
    """
    verdicts = ("retracted",) if gone else ("accepted", "tied")
    said = judged(changes, policy).filter(F.col("_verdict").isin(*verdicts))
    kept = {c: (F.col("op") != DELETE) | F.lit(c in policy.tie_break) for c in policy.payload}
    payload = (F.when(is_kept, F.col(c)).alias(c) for c, is_kept in kept.items())
    return said.select(*policy.identity, *payload, "op", "valid_from", "sequence")


def retraction(policy: Policy) -> Column:
    """The op that retracts a statement [upsert, delete] and no other: without content a plain retract means all."""
    return F.when(F.col("op") == DELETE, RETRACT_DELETE).when(_is_null(policy), RETRACT_NULL).otherwise(RETRACT)


def restoration() -> Column:
    """The op that restores a statement [upsert, delete]."""
    return F.when(F.col("op") == DELETE, RESTORE_DELETE).otherwise(RESTORE)


def observed(statements: DataFrame, seen: Observation | None) -> DataFrame:
    """The statements, counted by an observation on their way; see `timeline`."""
    if seen is None:
        return statements
    is_doubtful = (F.col("op") == DELETE) | ~F.col("_verdict").isin("accepted", "repeated")
    return statements.observe(
        seen,
        F.count(F.when(F.col("_verdict") == "tied", 1)).alias("tied"),
        F.count(F.when(is_doubtful, 1)).alias("doubtful"),
    )


def judged(changes: DataFrame, policy: Policy, *, carried: Sequence[str] | None = None) -> DataFrame:
    """Every statement of the changes with its verdict: accepted, tied, retracted, retract or repeated.

    Identical redeliveries are one statement, recorded when the first of them was; a retract removes what stands at its
    position with its content, without content all that stands there, unless a restore of that content was recorded
    later. What a delete carries is no content.
    carried: the columns of the payload that are wanted, those that break ties among them; None: all.
    """
    carried = policy.payload if carried is None else carried
    place = [*policy.identity, *_place(policy)]
    key, position, content = (Window.partitionBy(*names) for names in (policy.identity, place, [*place, "_content"]))
    is_retract, is_of_delete = F.col("op").isin(*RETRACTS), F.col("op").isin(*OF_DELETES)
    copies = content.orderBy(is_retract, "recorded_at")
    all_copies = copies.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    is_bare = (F.col("op") == RETRACT) & _is_null(policy)
    is_first = ~is_retract & (F.col("_copy") == 1)
    is_said = F.when(F.col("_verdict") != "repeated", 1)
    gone_at = F.greatest("_retracted_at", "_voided_at")  # of the two that are not null
    is_retracted = gone_at.isNotNull() & ~F.coalesce(F.col("_restored_at") > gone_at, F.lit(False))
    said = row_hash(policy.payload) if policy.overwritten else F.col("row_hash")
    hashed = changes.withColumn("row_hash", row_hash(policy.attributes)).select(
        *policy.identity, *carried, "op", "valid_from", "sequence", "recorded_at", "row_hash",
        F.when(~is_of_delete, said).alias("_content"), is_bare.alias("_is_bare"),
    )  # fmt: skip

    return (
        hashed.repartition(*policy.identity)  # this shuffle and one sort serve every window below
        .withColumns(
            {
                "_copy": F.row_number().over(copies),
                "_earliest": F.min(F.when(~is_retract, F.col("valid_from"))).over(all_copies),
                "_retracted_at": F.max(F.when(is_retract, F.col("recorded_at"))).over(all_copies),
                "_restored_at": F.max(F.when(F.col("op").isin(*RESTORES), F.col("recorded_at"))).over(all_copies),
            }
        )
        .withColumn("_voided_at", F.max(F.when(F.col("_is_bare"), F.col("recorded_at"))).over(position))
        .withColumn("_is_retracted", is_retracted)
        .withColumn("_contents", F.count(F.when(is_first & ~F.col("_is_retracted"), 1)).over(position))
        .withColumn(
            "_verdict",
            F.when(is_retract, "retract")
            .when(F.col("_copy") > 1, "repeated")
            .when(F.col("_is_retracted"), "retracted")
            .when(F.col("_contents") > 1, "tied")
            .otherwise("accepted"),
        )
        .withColumns({"last_position": greatest_position(key), "_said": F.count(is_said).over(key)})
        .select(
            *policy.identity, *carried,
            F.when(F.col("op") == RESTORE, UPSERT).when(F.col("op") == RESTORE_DELETE, DELETE).otherwise(F.col("op"))
            .alias("op"),
            # of a number extracted twice the earliest extraction is its time
            (F.col("_earliest") if policy.domain == "sequence" else F.col("valid_from")).alias("valid_from"),
            "sequence", "recorded_at", "row_hash", "last_position", "_said", "_verdict",
        )
    )  # fmt: skip


def shown(statements: DataFrame, policy: Policy) -> DataFrame:
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
            *policy.identity, *_carried(statements, policy), "valid_from", "recorded_at", "sequence", "last_position",
            "_said",
            (F.col("op") == DELETE).alias("is_deleted"),
            "row_hash",
            F.lit(False).alias("_is_folded"),
            F.lit(True).alias("_was_whole"),
        )
    )  # fmt: skip


def versions_of(states: DataFrame, policy: Policy) -> DataFrame:
    """Runs of equal states become versions: half-open intervals without gap, deleted stretches as tombstones.

    states: one row per (identity, valid_from): payload or a part of it, recorded_at, sequence, is_deleted, row_hash,
    last_position, _said [statements about the key], _is_folded [the open row of a fold, whose tombstone already has its
    attributes], _was_whole [whether nothing was said of the key before but what the row of the fold stands for].
    Returns versions, and of each: _is_folded, _is_extended [its overwritten columns come from a later state]; whether
    the one before it is folded; whether the one after it is a tombstone, when that was recorded, by which sequence and
    when it ends; the greatest position of the key.
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
    # Of the last row: whether each statement opened a version, and none is a delete before anything was seen. Of a row
    # of a fold, which a tombstone may follow as the last one: whether the only statement did.
    first, opened = F.col("_first"), F.col("_number") - F.col("_first._is_folded").cast("int")
    is_each = F.when(F.col("_is_folded"), F.col("_next_said") == 1).otherwise(F.col("_said") == opened)
    is_whole = F.coalesce(first["_was_whole"] & ~first["_inherits"] & is_each, F.lit(False))
    if not _versions_say_all(policy):
        is_whole = F.lit(False)
    newest = F.struct("last_position.valid_from", "last_position.sequence", is_whole.alias("is_whole"))
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
                "_next_sequence": F.lead("sequence").over(life),
                "_next_to": F.lead("valid_from", 2).over(life),
                "_next_said": F.lead("_said").over(life),
                "_first": F.first(F.struct("_is_folded", "_was_whole", inherits.alias("_inherits"))).over(life),
                "_number": F.row_number().over(life),
            }
        )
        .withColumn("_newest", newest)
        .filter(~(is_first & inherits))  # a delete before anything was seen waits in the log
        .select(
            *policy.identity, *carried, "valid_from", "valid_to",
            (is_open & ~F.col("is_deleted")).alias("is_current"),
            "is_deleted", "recorded_at", "sequence",
            version_key(policy).alias("version_key"),
            "row_hash",
            F.when(is_open, F.col("_newest")).alias("last_position"),
            is_open.alias("is_open"),
            *_BESIDE,
        )
    )  # fmt: skip


def _versions_say_all(policy: Policy) -> bool:
    """Whether versions say what opened them: time and sequence are its whole position, and no other extraction of
    the same number has another time."""
    return policy.domain == "time" and not policy.tie_break


def _is_null(policy: Policy) -> Column:
    """Whether every column of the payload is null."""
    return F.expr(" and ".join(["true", *(f"`{c}` is null" for c in policy.payload)]))


def _carried(frame: DataFrame, policy: Policy) -> list[str]:
    return [c for c in policy.payload if c in frame.columns]


def _place(policy: Policy) -> list[str]:
    """The columns that place a change in the life of its key: two different changes cannot share one place."""
    return [*policy.order, *policy.tie_break]


def position_of(policy: Policy) -> Column:
    """The position of a statement in the life of its key, as a struct that orders as the law does."""
    return F.struct(*_place(policy))


def greatest_position(key: WindowSpec | None = None) -> Column:
    """The position behind which a change surely goes on: the greatest time and the greatest sequence that were said.

    In a time domain only the time decides, and its sequence is that of the changes of the last fold.
    """
    greatest = {c: F.max(c) if key is None else F.max(c).over(key) for c in ("valid_from", "sequence")}
    return F.struct(*(value.alias(c) for c, value in greatest.items()))


FORMAT: Final = 3  # of stored versions, `row_hash` among it: those that were folded in another are rebuilt


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


def of_identities(frame: DataFrame, identities: DataFrame, by: Sequence[str], *, keep: bool = True) -> DataFrame:
    """The rows of `frame` whose identity is in `identities` (or, keep=False, is not). Identities are few: broadcast.

    by: what tells identities apart, the keys alone when all rows are of one scope.
    """
    return frame.join(F.broadcast(identities.select(*by)), list(by), "left_semi" if keep else "left_anti")
