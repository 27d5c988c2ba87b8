"""What follows the open rows: the law made cheap for keys whose changes all come after what was said before.

Their stored rows stay, are closed or go on; nothing else of their log is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from varve.history import law
from varve.history.policy import CORRECTIONS, DELETE, RESTORE, UPSERT, Policy


def touched(pending: DataFrame, policy: Policy) -> DataFrame:
    """The identities that changes touch, with what decides how they are folded.

    Returns (identity, first_from, first_sequence, is_plain), one row per identity; is_plain: no correction, no two
    different changes at one position, and where a sequence orders them none without one, which would be the lowest: so
    that the changes can be put after the open row as they are.
    """
    content = F.when(F.col("op") != DELETE, law.row_hash(policy.payload)).alias("_content")
    statements = pending.select(
        *policy.identity, "op", "valid_from", "sequence", law.position_of(policy).alias("_position"), content
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


def said_by(versions: DataFrame, policy: Policy) -> DataFrame:
    """The changes that opened versions: all that is said of their keys, where `last_position.is_whole` says so."""
    op = F.when(F.col("is_deleted"), DELETE).otherwise(UPSERT).alias("op")
    return versions.select(*policy.identity, *policy.payload, op, "valid_from", "sequence", "recorded_at")


OLD_KEY: Final = "_old_key"  # version_key of the row that a row replaces, null of a new one


def course(
    open_rows: DataFrame,
    pending: DataFrame,
    policy: Policy,
    *,
    by: Sequence[str],
    seen: Observation | None = None,
    is_new: bool = True,
) -> DataFrame:
    """How open rows go on with later changes: what `amended` makes of them, small beside them and worth keeping.

    open_rows: versions, at most one per identity, all touched ones among them; pending: changes that come after the
    open row of their key (see `continues`) or belong to a key without any earlier change; by: what distinguishes the
    identities of these rows, the keys alone when all are of one scope (a join on one number is the cheapest); seen: as
    in `timeline`, of the changes; is_new: whether nothing was ever said of a key that has no open row.
    Returns the touched open rows without their values, and the versions that follow with theirs. Of the open rows only
    narrow columns are read; of the changes too only narrow ones are sorted.
    """
    names = list(policy.identity)
    # The attributes stay behind: `row_hash` stands for them.
    carried = [c for c in policy.payload if c in (*policy.overwritten, *policy.tie_break)]
    statements = law.observed(law.judged(pending, policy, carried=carried), seen)
    states = law.shown(statements.filter("_verdict = 'accepted'"), policy).withColumn("_was_whole", F.lit(is_new))
    # What is tied or retracted counts in the greatest position of its key.
    newest = pending.groupBy(*names).agg(law.greatest_position().alias("last_position")).select(*by, "last_position")
    was_whole = F.col("last_position.is_whole").alias("_was_whole")
    folded = open_rows.select(*names, "is_deleted", "row_hash", was_whole).join(F.broadcast(newest), list(by))
    own = [*names, "is_deleted", "row_hash", "last_position", "_was_whole"]
    # An open row comes first in what follows; its time and values are not needed, they stay where they are.
    unknown = [F.lit(None).cast(states.schema[c].dataType).alias(c) for c in states.columns if c not in own]
    known = folded.select(*own, *unknown).withColumn("_is_folded", F.lit(True))
    steps = law.versions_of(known.unionByName(states), policy)
    return steps.join(_values(pending, policy, by), [*by, "row_hash"], "left")


def _values(pending: DataFrame, policy: Policy, by: Sequence[str]) -> DataFrame:
    """The tracked attributes that a row hash stands for: (by, row_hash, _values struct)."""
    said = pending.filter(F.col("op").isin(UPSERT, RESTORE))
    said = said.select(
        *by, law.row_hash(policy.attributes).alias("row_hash"), F.struct(*policy.attributes).alias("_values")
    )
    return said.groupBy(*by, "row_hash").agg(F.first("_values").alias("_values"))


def amended(versions: DataFrame, course: DataFrame, policy: Policy, *, by: Sequence[str]) -> DataFrame:
    """Versions and what the course of their open rows makes of them; equals `timeline` over the whole logs.

    Closed rows and untouched open ones come out as they are. No row is shuffled: each is passed through once, beside a
    broadcast; an open row that a deletion follows is followed by its tombstone. Returns the columns of versions and
    OLD_KEY."""
    becomes = course.filter("_is_folded").selectExpr(
        *(f"`{c}` as `_of_{c}`" for c in by), *(f"`{c}` as `_last_{c}`" for c in policy.overwritten), "_is_folded",
        "_is_extended", "_next_deleted", "_next_recorded_at", "_next_sequence", "_next_to", "valid_to as _now_to",
        "_newest",
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
        "sequence": "if(_is_tombstone, _next_sequence, sequence)",
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
