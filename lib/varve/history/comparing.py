"""A complete snapshot beside the state before it: row by row, or by the checksums of buckets."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from varve.history import law
from varve.history.policy import DELETE, UPSERT, Policy


def compared(rows: DataFrame, live: DataFrame, policy: Policy, *, named: DataFrame | None = None) -> DataFrame:
    """What a snapshot says that the state before it does not.

    rows: the snapshot (identity, payload); live: the live rows of its scopes just before it; named: identities of
    which the log says something at the snapshot's own position, so that the snapshot must be written out beside it.
    An identity that the snapshot states twice with different content is returned with all its rows: the log shows the
    contradiction. Returns (identity, payload, op, _kind [inserted, changed, deleted, unchanged])."""
    names = list(policy.identity)
    key = Window.partitionBy(*names)
    hashed = rows.select(*names, *policy.payload, law.row_hash(policy.payload).alias("_new_hash"))
    new = hashed.withColumn("_is_twofold", F.min("_new_hash").over(key) != F.max("_new_hash").over(key))
    old = live.select(*names, law.row_hash(policy.payload).alias("_old_hash"))
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
    return F.xxhash64(*policy.keys, law.row_hash(policy.payload))
