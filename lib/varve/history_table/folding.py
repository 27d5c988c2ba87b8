"""Bringing the versions of an entity up to its log: one commit that carries the watermark.

Small scopes are rewritten, their touched keys rebuilt. In large ones the rows that change take the place of the old
ones by MERGE. A fold that dies leaves what was there; one that is done twice finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame, Observation, Row
from pyspark.sql import functions as F

from varve import history
from varve.history_table import horizon, pending, rearrangements
from varve.history_table.pending import Backlog, Readable, Split
from varve.history_table.tables import FOLD
from varve.model.errors import StorageError
from varve.model.scope import SCOPE_COLUMNS, in_scopes

PARTITIONS: Final = (*SCOPE_COLUMNS, "is_open")  # of the versions
REWRITE_ABOVE_SHARE: Final = 0.2  # of the rows of a scope that change: then rewriting it is cheaper than a MERGE
BROADCAST_BELOW_ROWS: Final = 1_000_000  # of a MERGE's source
MOST_TIES: Final = 1000  # statements that a fold reports
MOST_BEHIND: Final = timedelta(days=7)  # Delta cleans a log up after 30 days


@dataclass(frozen=True, slots=True)
class Fold:
    """What a fold did. version: of the versions table, None when nothing was folded; inserted, removed: [rows];
    rebuilt: why the versions were rebuilt from the whole log; quarantined: statements that were not known to
    contradict each other; trimmed: versions that the horizon had passed [rows]."""

    version: int | None = None
    inserted: int = 0
    removed: int = 0
    rebuilt: str | None = None
    quarantined: tuple[Row, ...] = ()
    trimmed: int = 0


def fold(table: Readable) -> Fold:
    """Bring the versions up to the log in one commit that carries the watermark. Nothing new: no commit, no job.

    After a rearrangement of the log the versions are trimmed if the horizon says so, and the watermark is moved."""
    head = table.head()
    if head is None:
        return Fold()
    mark = table.watermark()
    if mark is None:
        return rebuild(table)
    reported_late = _report_late(table, mark) if table.has_unreported() else ()
    folded_in = _fold(table, head, mark)
    return replace(folded_in, quarantined=(*reported_late, *folded_in.quarantined))


def _fold(table: Readable, head: int, mark: int) -> Fold:
    """Fold a table that was folded before, up to `mark`."""
    moved = mark < head and rearrangements.rearrangements(table, mark)
    trimmed = horizon.trim(table) if moved else 0
    folded = table.store.version(table.layer, table.entity)
    assert folded is not None
    try:
        backlog = table.pending.backlog(folded)
    except StorageError as error:  # the log was cleaned up after the watermark
        return rebuild(table, f"what was folded cannot be distinguished from what was not: {error}")
    if reason := table.reason_to_rebuild():
        return rebuild(table, reason)
    if backlog is None:
        if moved or _may_be_cleaned(table, mark, head):
            _advance(table, head)
        return Fold(trimmed=trimmed)
    if table.pending.is_much(backlog):
        folded_in = rebuild(table, backlog=backlog)
    elif table.pending.is_small(backlog):
        folded_in = _fold_small(table, backlog)
    else:
        folded_in = _fold_large(table, backlog)
    return replace(folded_in, trimmed=trimmed)


def rebuild(table: Readable, reason: str | None = None, *, backlog: Backlog | None = None) -> Fold:
    """Rebuild the versions from the whole log, in one commit. reason: why, when it is no first load.

    backlog: what the versions lack, when only its scopes are rebuilt."""
    folded = table.store.version(table.layer, table.entity)
    head, mark = table.head(), table.watermark(version=folded)
    assert head is not None
    where = in_scopes(backlog.scopes) if backlog else None
    log, seen = table.log(version=head).filter(where or "true"), Observation()
    is_marked = where is None or table.is_marked()  # all keys without a version, elsewhere
    note = {**table.fold_note(head), "rebuilt": reason, "unreported": True}
    commit = table.store.replace(
        history.timeline(log, table.policy, seen=seen).sortWithinPartitions(*_in_order(table)),
        table.layer, table.entity, where=where,
        txn=FOLD if mark is None or mark < head else None, version=head, based_on=folded,
        partition_by=PARTITIONS, properties=table.properties(), note=note,
    )  # fmt: skip
    if seen.get["doubtful"]:  # not every key has a version
        rows = table.store.rows(table.layer, table.log_table, record="change")
        is_marked = is_marked and rows >= pending.REWRITE_BELOW_ROWS
        if is_marked:
            _mark_all(table, log, head, table.versions().filter(where or "true"))
    changes = table.pending.changes(backlog) if backlog else None
    tied = _report(table, head, history.quarantined(log, table.policy, only_at=changes)) if seen.get["tied"] else ()
    table.store.advance(
        table.layer, table.entity, txn=FOLD, version=head, note={**note, "unreported": False, "marked": is_marked}
    )
    return Fold(commit.version, inserted=commit.rows, rebuilt=reason, quarantined=tied)


def _report_late(table: Readable, mark: int) -> tuple[Row, ...]:
    """Report the contradictions that a fold of the whole log died before it reported them."""
    tied = _report(table, mark, history.quarantined(table.log(version=mark), table.policy))
    _advance(table, mark)
    return tied


def _advance(table: Readable, head: int) -> None:
    """Move the watermark over commits of the log that say nothing."""
    note = {**table.last_fold(), "watermark": head, "rebuilt": None, "unreported": False}
    table.store.advance(table.layer, table.entity, txn=FOLD, version=head, note=note)


def _may_be_cleaned(table: Readable, mark: int, head: int) -> bool:
    """Whether the log has gone on for long without a change, so that Delta may soon clean it up behind the mark."""
    first = table.store.committed_at(table.layer, table.log_table, mark + 1) if mark < head else None
    return first is not None and datetime.now(UTC) - first > MOST_BEHIND


def _fold_small(table: Readable, backlog: Backlog) -> Fold:
    """Rewrite the touched scopes, their touched keys recomputed from the log."""
    p, versions, where = table.policy, table.versions(version=backlog.folded), in_scopes(backlog.scopes)
    seen, stayed = Observation(), Observation()
    touched = table.pending.changes(backlog).select(*p.identity)
    kept = history.of_identities(versions.filter(where), touched, p.identity, keep=False)
    log = history.of_identities(table.log(version=backlog.head).filter(where), touched, p.identity)
    again = history.timeline(log, p, seen=seen).persist()
    try:
        inserted, before = again.count(), table.pending.stored_rows(backlog)
        tied = _tied(table, backlog, seen)
        rows = kept.observe(stayed, F.count("*").alias("rows")).unionByName(again)
        commit = table.store.replace(
            rows.coalesce(1), table.layer, table.entity, where=where,
            txn=FOLD, version=backlog.head, based_on=backlog.folded, note=table.fold_note(backlog.head),
        )  # fmt: skip
    finally:
        again.unpersist()
    return Fold(commit.version, inserted=inserted, removed=before - stayed.get["rows"], quarantined=tied)


def _fold_large(table: Readable, backlog: Backlog) -> Fold:
    """Exchange the rows that change, in one MERGE; or rewrite the touched scopes when much of them changes."""
    p, head, lacking = table.policy, backlog.head, table.pending
    versions = table.versions(version=backlog.folded)
    is_marked = table.is_marked()
    if not (backlog.is_later or is_marked):
        _mark_all(table, table.log(version=table.watermark()), head, versions)
        is_marked = True
    changes, opened = lacking.changes(backlog), lacking.near(versions, backlog).filter("is_open")
    # The one scan of whole rows: all that may change, of on-time and of late keys.
    touched = history.of_identities(opened, changes, backlog.by).persist()
    held, seen = [touched], Observation()
    try:
        split = lacking.split(touched, backlog)
        changed = lacking.amended(touched, backlog, split).withColumn("_is_gone", F.lit(False))
        known = []
        if split.late is not None:
            old = touched.unionByName(lacking.near(versions, backlog, split.named).filter("not is_open"))
            old = history.of_identities(old, split.late, backlog.by).persist()
            again = lacking.of_late(old, backlog, split, seen=seen).select(*versions.columns).persist()
            held, known = [*held, old, again], [again]
            changed = changed.unionByName(_exchanged(table, again, old))
        # Used several times, with a deep plan: computed once, and cut off from where it came from.
        counts = Observation()
        changed = changed.observe(
            counts,
            F.count(history.OLD_KEY).alias("removed"),
            F.count(F.when(~F.col("_is_gone"), 1)).alias("inserted"),
            F.count("*").alias("all"),
        ).localCheckpoint()
        _mark_waiting(table, changes, [changed.filter("not _is_gone"), *known], head, txn="waiting")
        tied = _tied(table, backlog, split.seen, *([] if split.late is None else [seen]))
        came, gone = counts.get["inserted"], counts.get["removed"]
        note = {**table.fold_note(head), "marked": is_marked}
        if not counts.get["all"]:
            commit = table.store.advance(table.layer, table.entity, txn=FOLD, version=head, note=note)
        elif gone > REWRITE_ABOVE_SHARE * lacking.stored_rows(backlog):
            rows = lacking.applied(versions, backlog, split).filter(in_scopes(backlog.scopes))
            commit = table.store.replace(
                rows.repartition(*p.identity).sortWithinPartitions(*_in_order(table)), table.layer, table.entity,
                where=in_scopes(backlog.scopes), txn=FOLD, version=head, based_on=backlog.folded, note=note,
            )  # fmt: skip
        else:
            commit = table.store.exchange(
                F.broadcast(changed) if counts.get["all"] <= BROADCAST_BELOW_ROWS else changed,
                table.layer, table.entity, on=_on(table, backlog, split), columns=versions.columns,
                when_insert=f"new.{history.OLD_KEY} is null",
                when_delete=None if split.late is None else "new._is_gone", txn=FOLD, version=head,
                based_on=backlog.folded, note=note,
            )  # fmt: skip
        return Fold(commit.version, came, gone, quarantined=tied)
    finally:
        lacking.forget()
        for frame in held:
            frame.unpersist()


def _in_order(table: Readable) -> list[str]:
    """The order of stored rows: by key, so that a look-up reads a page of each file, and before that by partition.

    A writer of partitions sorts by them itself unless they are sorted already, and what is too large for memory loses
    the order of keys in that."""
    return [*PARTITIONS, *table.policy.keys]


def _tied(table: Readable, backlog: Backlog, *seen: Observation) -> tuple[Row, ...]:
    """Report the contradictions that changes make, among themselves or with what was said before.

    Before the fold is committed: one that dies is done again, and reports again."""
    if not any(one.get["tied"] for one in seen):
        return ()
    lacking, changes = table.pending, table.pending.changes(backlog)
    log = history.of_identities(lacking.near(table.log(version=backlog.head), backlog), changes, backlog.by)
    return _report(table, backlog.head, history.quarantined(log, table.policy, only_at=changes))


def _report(table: Readable, head: int, tied: DataFrame) -> tuple[Row, ...]:
    rows = tuple(tied.take(MOST_TIES))
    if rows:
        table.on_contradiction(head, rows)
    return rows


def _mark_all(table: Readable, log: DataFrame, head: int, versions: DataFrame) -> None:
    """Mark every identity of a log that has no version: before a table is folded by its open rows."""
    _mark_waiting(table, log, [versions], head, txn="waiting, all")


def _mark_waiting(table: Readable, changes: DataFrame, versions: Sequence[DataFrame], head: int, *, txn: str) -> None:
    """Mark the identities of changes that have no version: their next change must read their log.

    Written before the fold that relies on it. A mark too many costs time, one too few would be wrong.
    """
    names = list(table.policy.identity)
    known = reduce(DataFrame.union, (rows.select(*names) for rows in versions))
    waiting = changes.select(*names).join(known, names, "left_anti").distinct().persist()
    if not waiting.isEmpty():
        schema = table.log_schema(None)
        others = [F.lit(None).cast(f.dataType).alias(f.name) for f in schema if f.name not in names]
        rows = waiting.select(*names, *others).withColumn("record", F.lit("waiting"))
        table.append_marks(rows, txn=txn, version=head, kind="waiting")
    waiting.unpersist()


def _exchanged(table: Readable, new: DataFrame, old: DataFrame) -> DataFrame:
    """What makes one set of versions of another: rows that are new or differ, each with the key of the version that it
    replaces; the keys of those that nothing replaces."""
    by = [*table.policy.identity, "version_key"]
    digest = history.row_hash(new.columns)
    was = old.select(*by, F.col("version_key").alias(history.OLD_KEY), digest.alias("_was"))
    both = new.withColumn("_is", digest).join(was, by, "full_outer")
    differs = ~F.col("_is").eqNullSafe(F.col("_was"))
    return both.filter(differs).select(*new.columns, history.OLD_KEY, F.col("_is").isNull().alias("_is_gone"))


def _on(table: Readable, backlog: Backlog, split: Split) -> Column:
    on = (F.col("old.version_key") == F.col(f"new.{history.OLD_KEY}")) & table.pending.pruned(backlog, "old.")
    for name in table.policy.keys:
        on &= F.col(f"old.{name}") == F.col(f"new.{name}")
    return on & (F.col("old.is_open") == F.lit(True)) if split.late is None else on
