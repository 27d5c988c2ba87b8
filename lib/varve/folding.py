"""Bringing the versions of an entity up to its log: one commit that carries the watermark.

Small scopes are rewritten, their touched keys made anew. In large ones the rows that change take the place of the old
ones by MERGE. A fold that dies leaves what was there; one that is done twice finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pyspark.sql import Column, DataFrame, Observation, Row
from pyspark.sql import functions as F

from varve import history, horizon, unfolded, upkeep
from varve.errors import StorageError
from varve.scope import SCOPE_COLUMNS, in_scopes
from varve.unfolded import Behind, Split

if TYPE_CHECKING:
    from varve.history_table import HistoryTable

FOLD: Final = "fold"
PARTITIONS: Final = (*SCOPE_COLUMNS, "is_open")  # of the versions
REWRITE_ABOVE_SHARE: Final = 0.2  # of the rows of a scope that change: then rewriting it is cheaper than a MERGE
BROADCAST_BELOW_ROWS: Final = 1_000_000  # of a MERGE's source
MOST_TIES: Final = 1000  # statements that a fold reports


@dataclass(frozen=True, slots=True)
class Fold:
    """What a fold did. version: of the versions table, None when nothing was folded; inserted, removed: [rows];
    rebuilt: why the versions were made anew from the whole log; quarantined: statements that contradict each other;
    trimmed: versions that the horizon had passed [rows]."""

    version: int | None = None
    inserted: int = 0
    removed: int = 0
    rebuilt: str | None = None
    quarantined: tuple[Row, ...] = ()
    trimmed: int = 0


def fold(table: HistoryTable) -> Fold:
    """Bring the versions up to the log in one commit that carries the watermark. Nothing new: no commit, no job.

    Behind a rearrangement of the log the versions are trimmed, if the horizon says so, and the mark is moved."""
    head, mark = table.head(), table.watermark()
    if head is None:
        return Fold()
    if mark is None:
        return rebuild(table)
    try:
        behind = table.unfolded.behind()
    except StorageError as error:  # the log was cleaned up behind the watermark
        return rebuild(table, f"what was folded cannot be told from what was not: {error}")
    moved = mark < head and upkeep.rearrangements(table, mark)
    trimmed = horizon.trim(table) if moved else 0
    if reason := table.outgrown():
        return rebuild(table, reason)
    if behind is None:
        if moved:
            told = table.store.last_note(table.layer, table.entity, "fold")
            note = {**told, "kind": "fold", "watermark": head, "rebuilt": None}
            table.store.advance(table.layer, table.entity, txn=FOLD, version=head, note=note)
        return Fold(trimmed=trimmed)
    folded = _fold_small(table, behind) if table.unfolded.is_small(behind) else _fold_large(table, behind)
    return replace(folded, trimmed=trimmed)


def rebuild(table: HistoryTable, reason: str | None = None) -> Fold:
    """Make the versions anew from the whole log, in one commit. reason: why, when it is no first load."""
    head, mark = table.head(), table.watermark()
    assert head is not None
    log, seen, note = table.log(version=head), Observation(), {**table.fold_note(head), "rebuilt": reason}
    versions = history.timeline(log, table.policy, seen=seen).sortWithinPartitions(*_in_order(table))
    commit = table.store.replace(
        versions, table.layer, table.entity,
        txn=FOLD if mark is None or mark < head else None, version=head,
        partition_by=PARTITIONS, properties=table.properties(), note=note,
    )  # fmt: skip
    is_marked = not seen.get["doubtful"]  # every key has a version
    if not is_marked and table.store.rows(table.layer, table.log_table, record="change") >= unfolded.REWRITE_BELOW_ROWS:
        _mark_all(table, log, head, table.versions())
        is_marked = True
    if is_marked:
        table.store.advance(table.layer, table.entity, txn=FOLD, version=head, note={**note, "marked": True})
    return Fold(commit.version, inserted=commit.rows, rebuilt=reason, quarantined=_tied(table, seen, log))


def _fold_small(table: HistoryTable, behind: Behind) -> Fold:
    """Rewrite the touched scopes, their touched keys computed anew from the log: one job."""
    p, versions, where = table.policy, table.versions(), in_scopes(behind.scopes)
    seen, came, stayed = Observation(), Observation(), Observation()
    touched = table.unfolded.pending(behind).select(*p.identity)
    kept = history.of_identities(versions.filter(where), touched, p.identity, keep=False)
    log = history.of_identities(table.log(version=behind.head).filter(where), touched, p.identity)
    rows = kept.observe(stayed, F.count("*").alias("rows")).unionByName(
        history.timeline(log, p, seen=seen).observe(came, F.count("*").alias("rows"))
    )
    before = table.unfolded.stored_rows(behind)
    commit = table.store.replace(
        rows.coalesce(1), table.layer, table.entity, where=where,
        txn=FOLD, version=behind.head, note=table.fold_note(behind.head),
    )  # fmt: skip
    tied = _tied(table, seen, table.log(version=behind.head))
    return Fold(commit.version, inserted=came.get["rows"], removed=before - stayed.get["rows"], quarantined=tied)


def _fold_large(table: HistoryTable, behind: Behind) -> Fold:
    """Exchange the rows that change, in one MERGE; or rewrite the touched scopes when much of them changes."""
    p, head, folded = table.policy, behind.head, table.store.version(table.layer, table.entity)
    assert folded is not None
    versions, lacking = table.versions(version=folded), table.unfolded
    if not (behind.is_later or table.is_marked()):
        _mark_all(table, table.log(version=table.watermark()), head, versions)
    pending, stored = lacking.pending(behind), lacking.near(versions, behind)
    # The one scan of whole rows: all that may change, of on-time and of late keys.
    touched = history.of_identities(stored.filter("is_open"), pending, behind.by).persist()
    held, seen = [touched], Observation()
    try:
        split = lacking.split(touched, behind, folded)
        changed = lacking.amended(touched, behind, split).withColumn("_is_gone", F.lit(False))
        known = []
        if split.late is not None:
            old = touched.unionByName(stored.filter("not is_open"))
            old = history.of_identities(old, split.late, behind.by)
            again = lacking.of_late(behind, split, seen=seen).select(*versions.columns).persist()
            held, known = [*held, again], [again]
            changed = changed.unionByName(_exchanged(table, again, old))
        # Used several times, with a deep plan: computed once, and cut off from where it came from.
        counts = Observation()
        changed = changed.observe(
            counts,
            F.count(history.OLD_KEY).alias("removed"),
            F.count(F.when(~F.col("_is_gone"), 1)).alias("inserted"),
            F.count("*").alias("all"),
        ).localCheckpoint()
        _mark_waiting(table, pending, [changed.filter("not _is_gone"), *known], head, txn="waiting")
        came, gone = counts.get["inserted"], counts.get["removed"]
        note = {**table.fold_note(head), "marked": True}
        if not counts.get["all"]:
            commit = table.store.advance(table.layer, table.entity, txn=FOLD, version=head, note=note)
        elif gone > REWRITE_ABOVE_SHARE * lacking.stored_rows(behind):
            rows = lacking.applied(versions, behind, split).filter(in_scopes(behind.scopes))
            commit = table.store.replace(
                rows.repartition(*p.identity).sortWithinPartitions(*_in_order(table)), table.layer, table.entity,
                where=in_scopes(behind.scopes), txn=FOLD, version=head, note=note,
            )  # fmt: skip
        else:
            commit = table.store.exchange(
                F.broadcast(changed) if counts.get["all"] <= BROADCAST_BELOW_ROWS else changed,
                table.layer, table.entity, on=_on(table, behind, split), columns=versions.columns,
                when_insert=f"new.{history.OLD_KEY} is null",
                when_delete=None if split.late is None else "new._is_gone", txn=FOLD, version=head, note=note,
            )  # fmt: skip
        tied = () if split.late is None else _tied(table, seen, lacking.log_of_late(behind, split))
        return Fold(commit.version, came, gone, quarantined=tied)
    finally:
        lacking.forget()
        for frame in held:
            frame.unpersist()


def _in_order(table: HistoryTable) -> list[str]:
    """The order of stored rows: by key, so that a look-up reads a page of each file, and before that by partition.

    A writer of partitions sorts by them itself unless they are sorted already, and what is too large for memory loses
    the order of keys in that."""
    return [*PARTITIONS, *table.policy.keys]


def _tied(table: HistoryTable, seen: Observation, log: DataFrame) -> tuple[Row, ...]:
    if not seen.get["tied"]:
        return ()
    return tuple(history.quarantined(log, table.policy).take(MOST_TIES))


def _mark_all(table: HistoryTable, log: DataFrame, head: int, versions: DataFrame) -> None:
    """Mark every identity of a log that has no version: before a table is folded by its open rows."""
    _mark_waiting(table, log, [versions], head, txn="waiting, all")


def _mark_waiting(
    table: HistoryTable, changes: DataFrame, versions: Sequence[DataFrame], head: int, *, txn: str
) -> None:
    """Mark the identities of changes that have no version: their next change must read their log.

    Written before the fold that relies on it. A mark too many costs time, one too few would be wrong.
    """
    names = list(table.policy.identity)
    waiting = changes.select(*names)
    for known in versions:
        waiting = waiting.join(known.select(*names), names, "left_anti")
    waiting = waiting.distinct().persist()
    if not waiting.isEmpty():
        schema = table.log_schema(None)
        others = [F.lit(None).cast(f.dataType).alias(f.name) for f in schema if f.name not in names]
        rows = waiting.select(*names, *others).withColumn("record", F.lit("waiting"))
        table.append_records(rows, txn=txn, version=head, note=table.log_note("waiting"))
    waiting.unpersist()


def _exchanged(table: HistoryTable, new: DataFrame, old: DataFrame) -> DataFrame:
    """What makes one set of versions of another: rows that are new or differ, each with the key of the version that it
    replaces; the keys of those that nothing replaces."""
    by = [*table.policy.identity, "version_key"]
    digest = history.row_hash(new.columns)
    was = old.select(*by, F.col("version_key").alias(history.OLD_KEY), digest.alias("_was"))
    both = new.withColumn("_is", digest).join(was, by, "full_outer")
    differs = ~F.col("_is").eqNullSafe(F.col("_was"))
    return both.filter(differs).select(*new.columns, history.OLD_KEY, F.col("_is").isNull().alias("_is_gone"))


def _on(table: HistoryTable, behind: Behind, split: Split) -> Column:
    on = (F.col("old.version_key") == F.col(f"new.{history.OLD_KEY}")) & table.unfolded.pruned(behind, "old.")
    for name in table.policy.keys:
        on &= F.col(f"old.{name}") == F.col(f"new.{name}")
    return on & (F.col("old.is_open") == F.lit(True)) if split.late is None else on
