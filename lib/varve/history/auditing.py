"""Versions held against the law and their own log."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from varve.history import law
from varve.history.policy import Policy


def audit(versions: DataFrame, changes: DataFrame, policy: Policy) -> DataFrame:
    """What is wrong with versions: (identity, kind, detail), one row per identity and kind; nothing when all is well.

    Kinds: overlap, gap, zero_width, no_open_row, two_open_rows, wrong_flags, wrong_hash (the row's own columns
    contradict its row_hash), not_in_log (a version that the log does not give), missing (one that the log gives and
    that is absent), low_position (last_position is below what the key's log has seen, or claims that the versions say
    all of it: late changes would be folded wrongly; one above it is lawful, for an expiry takes positions out of the
    log)."""
    life = Window.partitionBy(*policy.identity).orderBy("valid_from", F.col("valid_to").asc_nulls_last())
    key = Window.partitionBy(*policy.identity)
    following = F.lead("valid_from").over(life)
    rows = (
        versions.withColumn("_next_from", following)
        .withColumn("_open_rows", F.count(F.when(F.col("valid_to").isNull(), 1)).over(key))
        .withColumn("_true_hash", law.row_hash(policy.attributes))
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
    # An anchor of the sequence domain has the number of the last change that it stands for.
    beside = ("last_position", "row_hash", *(["sequence"] if policy.domain == "sequence" else []))
    compare = [c for c in versions.columns if c not in beside]
    stored = versions.select(*compare, F.col("last_position").alias("_has"), F.lit(1).alias("_count"))
    lawful = law.timeline(changes, policy).select(
        *compare, F.col("last_position").alias("_due"), F.lit(-1).alias("_count")
    )
    surplus, is_low = F.sum("_count"), ~F.coalesce(_reaches(F.min("_has"), F.max("_due"), policy), F.lit(False))
    kind = (
        F.when(surplus > 0, "not_in_log").when(surplus < 0, "missing").when(F.col("is_open") & is_low, "low_position")
    )
    unlike = (
        stored.unionByName(lawful, allowMissingColumns=True)
        .groupBy(*compare)
        .agg(kind.alias("kind"))
        .filter("kind is not null")
        .select(*policy.identity, "valid_from", "kind")
    )
    return (
        own.unionByName(unlike)
        .groupBy(*policy.identity, "kind")
        .agg(
            F.concat(
                F.lit("at "), F.concat_ws(", ", F.sort_array(F.collect_set(F.col("valid_from").cast("string"))))
            ).alias("detail")
        )
    )


def _reaches(position: Column, other: Column, policy: Policy) -> Column:
    """Whether a last_position claims no more than another, in what decides how a fold goes; nulls lowest."""
    reaches = (position["valid_from"] >= other["valid_from"]) & (~position["is_whole"] | other["is_whole"])
    if policy.domain == "sequence":
        reaches &= other["sequence"].isNull() | (position["sequence"] >= other["sequence"])
    return reaches
