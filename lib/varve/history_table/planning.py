"""What changes would do to the versions, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from varve import history
from varve.history_table import horizon, reassertion
from varve.history_table.pending import Readable
from varve.model.columns import VERSION_COLUMNS


@dataclass(frozen=True, slots=True)
class HistoryPlan:
    """What changes would do to the versions, nothing written. samples: up to ten version rows that would be new."""

    opened: int
    closed: int
    rewritten: int
    removed: int
    oldest: datetime | None  # the earliest valid_from of a row that would change
    samples: tuple[Row, ...]


def planned(table: Readable, changes: DataFrame) -> HistoryPlan:
    """What appending and folding `changes` would do; nothing is written."""
    p, changes = table.policy, horizon.ahead(table, changes).select(*table.log().columns)
    if (again := reassertion.reassertions(table, changes)) is not None:
        # Used several times, and deep: computed once, and cut off from where it came from.
        changes = changes.unionByName(again.select(*changes.columns)).localCheckpoint()
    touched = changes.select(*p.identity).distinct()
    stated = history.of_identities(table.log(), touched, p.identity).unionByName(changes)
    columns = [*p.identity, *p.payload, *(c for c in VERSION_COLUMNS if c != "last_position")]
    new = history.timeline(stated, p).select(columns).persist()
    old = history.of_identities(table.read(), touched, p.identity).select(columns).persist()
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
    return HistoryPlan(counts.opened, counts.closed, counts.rewritten, removed, counts.oldest, samples)
