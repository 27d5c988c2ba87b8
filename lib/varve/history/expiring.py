"""What a log may forget: changes from before a moment give way to one anchor for each key."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from varve.history import law
from varve.history.policy import RESTORE, UPSERT, Policy


def before(changes: DataFrame, moment: datetime, policy: Policy) -> DataFrame:
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
    due = before(changes, moment, policy) if policy.domain == "time" else changes
    accepted = law.judged(due, policy).filter("_verdict = 'accepted'")
    earlier = accepted.filter(F.col("valid_from") < at)
    clock = ("op", "valid_from", "sequence", "recorded_at")
    opened = law.timeline(earlier.select(*names, *policy.payload, *clock), policy).filter("is_current")
    # What opened the version: it says the same, recorded when the version was, and at its time; of a number that was
    # extracted twice one row may give the time and another the knowledge.
    opener = [*names, "row_hash", "recorded_at", *(["valid_from"] if policy.domain == "time" else [])]
    first = F.min(F.struct("manifest", "contract_version")).alias("_first")
    upserts = due.filter(F.col("op").isin(UPSERT, RESTORE)).withColumn("row_hash", law.row_hash(policy.attributes))
    if policy.domain == "time":
        later = changes.filter(F.col("valid_from") >= at)
    else:
        position = law.position_of(policy).alias("_position")
        alive = accepted.select(*names, position, F.lit(True).alias("_is_alive"))
        newest_first = Window.partitionBy(*names).orderBy(F.desc("_last"))
        last = earlier.select(*names, "sequence", position.alias("_last"))
        last = last.withColumn("_rank", F.row_number().over(newest_first)).filter("_rank = 1")
        follows = F.col("_last").isNull() | (F.col("_position") > F.col("_last"))
        later = (
            _aged(changes, policy)
            .join(last.select(*names, "_last"), names, "left")
            .join(alive, [*names, "_position"], "left")
            .filter(follows & ((F.col("_oldest") >= at) | F.col("_is_alive")))
        )
        # Of the last number: what comes later with one in between says nothing any more.
        opened = opened.drop("sequence").join(last.select(*names, "sequence"), names)
    anchors = opened.join(upserts.groupBy(*opener).agg(first), opener, "left").select(
        *names, *policy.payload, F.lit(UPSERT).alias("op"), "valid_from", "sequence", "recorded_at",
        F.col("_first.manifest").alias("manifest"), F.col("_first.contract_version").alias("contract_version"),
    )  # fmt: skip
    return later.select(changes.columns).unionByName(anchors, allowMissingColumns=True)


def _aged(changes: DataFrame, policy: Policy) -> DataFrame:
    """Changes with their position and the earliest time that anything at that position has."""
    place = Window.partitionBy(*policy.identity, "_position")
    return changes.withColumn("_position", law.position_of(policy)).withColumn(
        "_oldest", F.min("valid_from").over(place)
    )
