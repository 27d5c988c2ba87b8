"""Complete snapshots: beside the state before them, with the guard's numbers, and into the log.

The log holds of a snapshot its record (one row per scope) and the rows that differ from the state before it; what is
asserted by saying nothing is for `reassertion`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from varve import history
from varve.history import Policy
from varve.history_table import reassertion, snapshot_log
from varve.history_table.pending import Readable
from varve.history_table.positions import is_at, is_before
from varve.history_table.snapshot_log import Snapshot, SnapshotRecord, may_reach, scope_of
from varve.history_table.widening import widen_log
from varve.model.errors import ContractError
from varve.model.scope import SCOPE_COLUMNS, Scope, in_scopes
from varve.raw.batch import Batch, transaction
from varve.storage.commits import Commit

BUCKETS: Final = 256
LOW_BITS: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one scope [rows]: in the snapshot, and by how it differs from the state before.

    unchanged: keys that do not differ and are written out all the same, because of them the log says something else at
    the snapshot's very moment.
    """

    rows: int = 0
    inserted: int = 0
    changed: int = 0
    deleted: int = 0
    unchanged: int = 0

    @property
    def differs(self) -> bool:
        """Whether there is any row to log."""
        return bool(self.inserted or self.changed or self.deleted or self.unchanged)

    @property
    def live_before(self) -> int:
        """Keys that were live before the snapshot."""
        return self.rows - self.inserted + self.deleted

    @property
    def deleted_share(self) -> float:
        """[0..1] of the keys that were live before."""
        return self.deleted / self.live_before if self.live_before > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A snapshot beside the state before it; nothing is written yet. changes: (identity, payload, op, kind),
    persisted; twins: the scopes of which the log has another snapshot of that very moment."""

    snapshot: Snapshot
    counts: Mapping[Scope, Counts]
    changes: DataFrame | None
    excluded: DataFrame | None
    checksums: Mapping[Scope, Mapping[int, tuple[int, int, int]]] = field(repr=False)
    is_latest: bool = True
    twins: frozenset[Scope] = frozenset()

    @property
    def differs(self) -> bool:
        """Whether there is any row to log."""
        return any(counts.differs for counts in self.counts.values())


# --- comparing ------------------------------------------------------------------------------------------------


def compare(table: Readable, rows: DataFrame, snapshot: Snapshot, excluded: DataFrame | None) -> Comparison:
    """The snapshot beside the state before it.

    rows: (identity, payload) of its scopes; excluded: identities that it holds but says nothing valid about: they
    count as present. Only buckets whose checksum differs from the snapshot before are compared row by row."""
    policy = table.policy
    if policy.domain == "sequence" and snapshot.sequence is None:
        raise ContractError(
            "a snapshot of an entity that is ordered by sequence needs a position in that order",
            where=f"{table.entity}, manifest {snapshot.manifest}", found="no sequence",
            remedy="Give the snapshot the greatest sequence that its rows take in, or order the entity by time.",
        )  # fmt: skip
    checksums = _checksums(rows, snapshot, policy)
    is_latest = not _reaches(table, snapshot)
    twins = frozenset[Scope]() if is_latest else _twins(table, snapshot)
    suspects = _suspect_buckets(table, checksums, snapshot, excluded) if is_latest else None
    if suspects is not None and not any(suspects.values()):
        counts = {scope: Counts(rows=_total(checksums[scope])) for scope in snapshot.scopes}
        return Comparison(snapshot, counts, None, excluded, _published(checksums, excluded, policy), is_latest)
    live = _state_before(table, snapshot, is_latest)
    of_scopes = in_scopes(snapshot.scopes)
    named = None if is_latest else table.log().filter(of_scopes).filter(_calls_by_name(policy, snapshot))
    if live is None:
        changes = rows.select(*policy.identity, *policy.payload).withColumns(
            {"op": F.lit("upsert"), "_kind": F.lit("inserted")}
        )
    else:
        suspect = _in_buckets(policy, suspects) if suspects is not None else F.lit(True)
        named = named if named is None else named.select(*policy.identity).distinct()
        changes = history.compared(rows.filter(suspect), live.filter(suspect), policy, named=named)
    if excluded is not None:
        changes = history.of_identities(changes, excluded, policy.identity, keep=False)
    changes = changes.persist()
    counts, may_be_twofold = _counted(changes, checksums, snapshot, policy)
    unsure = excluded
    if may_be_twofold:  # an identity that it states twice: the next snapshot must be written out beside it too
        twofold = changes.groupBy(*policy.identity).count().filter("count > 1").select(*policy.identity)
        unsure = twofold if excluded is None else twofold.unionByName(excluded.select(*policy.identity))
    return Comparison(snapshot, counts, changes, excluded, _published(checksums, unsure, policy), is_latest, twins)


def _twins(table: Readable, snapshot: Snapshot) -> frozenset[Scope]:
    """The scopes of the snapshot of which the log has another one of that very moment."""
    found = snapshot_log.accepted(table, since=snapshot.as_of)
    return frozenset(snapshot.scopes) & {record.scope for record in found if record.as_of == snapshot.as_of}


def _checksums(rows: DataFrame, snapshot: Snapshot, policy: Policy) -> dict[Scope, dict[int, tuple[int, int, int]]]:
    """Per scope and bucket: rows, and the sums of the low and high halves of the row checksums (they cannot
    overflow)."""
    share, only = history.checksum(policy), snapshot.scopes[0] if len(snapshot.scopes) == 1 else None
    is_other = ~F.expr(in_scopes(snapshot.scopes))
    by = [] if only else list(SCOPE_COLUMNS)  # one scope is checked, not grouped by: strings are slow to group
    sums = (
        rows.select(*SCOPE_COLUMNS, history.bucket(policy, BUCKETS).alias("bucket"), share.alias("share"))
        .groupBy(*by, "bucket")
        .agg(
            F.count("*").alias("rows"),
            F.sum(F.col("share").bitwiseAND(F.lit(LOW_BITS))).alias("low"),
            F.sum(F.shiftrightunsigned("share", 32)).alias("high"),
            F.count(F.when(is_other, 1)).alias("others"),
        )
    )
    found: dict[Scope, dict[int, tuple[int, int, int]]] = {scope: {} for scope in snapshot.scopes}
    for row in sums.collect():
        if row.others:
            other = rows.filter(is_other).select(*SCOPE_COLUMNS).first()
            raise ContractError(
                f"the snapshot has rows of scope {Scope(*other) if other else '?'}, which its manifest does not list",
                where=f"manifest {snapshot.manifest}", expected=", ".join(map(str, snapshot.scopes)),
            )  # fmt: skip
        scope = only or Scope(row.scope_country, row.scope_entity)
        found[scope][row.bucket] = (row.rows, row.low, row.high)
    return found


def _reaches(table: Readable, snapshot: Snapshot) -> bool:
    """Whether the log may hold anything at or after the snapshot in its scopes, by the statistics of its files."""
    scopes = set(snapshot.scopes)
    return any(
        file["partition.record"] not in ("waiting", "horizon")
        and scope_of(file) in scopes
        and may_reach(file, table.policy, snapshot.as_of, snapshot.sequence)
        for file in table.store.files(table.layer, table.log_table)
    )


def _suspect_buckets(
    table: Readable,
    checksums: Mapping[Scope, Mapping[int, tuple[int, int, int]]],
    snapshot: Snapshot,
    excluded: DataFrame | None,
) -> dict[Scope, set[int]]:
    """Per scope the buckets in which the snapshot may differ from the state before it."""
    last = snapshot_log.last(table, snapshot.scopes)
    everything = set(range(BUCKETS))
    suspects: dict[Scope, set[int]] = {}
    for scope in snapshot.scopes:
        base = last.get(scope)
        detail: dict[str, Any] = json.loads(base.detail or "{}") if base else {}
        if base is None or not detail["is_latest"] or base.contract_version != snapshot.contract_version:
            suspects[scope] = everything
            continue
        old = {int(b): tuple(sums) if sums else None for b, sums in detail["checksums"].items()}
        now = checksums[scope]
        unsure = {
            b for b, sums in old.items() if sums is None
        }  # that no row is there now proves nothing of such a bucket
        suspects[scope] = unsure | {b for b in everything if now.get(b) != old.get(b)}
    if any(len(found) < BUCKETS for found in suspects.values()):
        for scope, touched in _touched_since(table, last).items():
            suspects[scope] |= touched
    if excluded is not None:
        for scope, touched in _buckets_of(excluded, table.policy).items():
            suspects[scope] |= touched
    return suspects


def _touched_since(table: Readable, bases: Mapping[Scope, SnapshotRecord]) -> dict[Scope, set[int]]:
    """Buckets with changes at or after the last snapshot of their scope, other than its own."""
    policy = table.policy
    if not any(
        file["partition.record"] == "change"
        and (base := bases.get(scope_of(file))) is not None
        and may_reach(file, policy, base.as_of, base.sequence)
        and not _is_all_of(file, base.manifest)
        for file in table.store.files(table.layer, table.log_table)
    ):
        return {}
    since = reduce(
        Column.__or__,
        [
            (F.col("scope_country") == scope.country)
            & (F.col("scope_entity") == scope.entity)
            & ~is_before(policy, F.lit(base.as_of), F.lit(base.sequence))
            & (F.col("manifest") != base.manifest)
            for scope, base in bases.items()
        ],
    )
    return _buckets_of(table.log().filter(since), policy)


def _is_all_of(file: Mapping[str, Any], manifest: str) -> bool:
    """Whether a file of the log holds rows of this manifest alone, by its statistics."""
    return bool(file.get("min.manifest") == manifest == file.get("max.manifest"))


def _buckets_of(identities: DataFrame, policy: Policy) -> dict[Scope, set[int]]:
    found: dict[Scope, set[int]] = {}
    for row in identities.select(*SCOPE_COLUMNS, history.bucket(policy, BUCKETS).alias("bucket")).distinct().collect():
        found.setdefault(Scope(row.scope_country, row.scope_entity), set()).add(row.bucket)
    return found


def _in_buckets(policy: Policy, suspects: Mapping[Scope, set[int]]) -> Column:
    of_row = history.bucket(policy, BUCKETS)
    tests = [
        (F.col("scope_country") == s.country)
        & (F.col("scope_entity") == s.entity)
        & (F.lit(True) if len(found) == BUCKETS else of_row.isin(sorted(found)))
        for s, found in suspects.items()
        if found
    ]
    return reduce(Column.__or__, tests, F.lit(False))


def _state_before(table: Readable, snapshot: Snapshot, is_latest: bool) -> DataFrame | None:
    """The live rows just before the snapshot in its scopes, None when the log is empty."""
    if not table.store.exists(table.layer, table.log_table):
        return None
    if is_latest:
        return table.read().filter(in_scopes(snapshot.scopes)).filter("is_current")
    before = (
        table.log()
        .filter(in_scopes(snapshot.scopes))
        .filter(is_before(table.policy, F.lit(snapshot.as_of), F.lit(snapshot.sequence)))
    )
    return history.timeline(before, table.policy).filter("is_current")


def _calls_by_name(policy: Policy, snapshot: Snapshot) -> Column:
    """Whether a change makes its key be written out by a snapshot that does not differ: silence would not do there.

    What stands at the snapshot's own position contradicts it or agrees with it. In a sequence domain a lower sequence
    may have a later time; only a written statement hides it."""
    as_of, sequence = F.lit(snapshot.as_of), F.lit(snapshot.sequence)
    at = is_at(policy, as_of, sequence)
    if policy.domain == "time":
        return at
    return at | (is_before(policy, as_of, sequence) & (F.col("valid_from") >= as_of))


def _counted(
    changes: DataFrame,
    checksums: Mapping[Scope, Mapping[int, tuple[int, int, int]]],
    snapshot: Snapshot,
    policy: Policy,
) -> tuple[dict[Scope, Counts], bool]:
    """The counts, and whether an identity may occur in more than one row."""
    numbers: dict[Scope, dict[str, int]] = {scope: {} for scope in snapshot.scopes}
    kinds = changes.groupBy(*SCOPE_COLUMNS, "_kind").agg(
        F.count_distinct(*policy.keys).alias("keys"), F.count("*").alias("rows")
    )
    may_be_twofold = False
    for row in kinds.collect():
        numbers[Scope(row.scope_country, row.scope_entity)][row["_kind"]] = row["keys"]
        may_be_twofold |= row["rows"] > row["keys"] or row["_kind"] == "unchanged"  # the other row of it is `changed`
    return {scope: Counts(rows=_total(checksums[scope]), **found) for scope, found in numbers.items()}, may_be_twofold


def _total(buckets: Mapping[int, tuple[int, int, int]]) -> int:
    return sum(rows for rows, _, _ in buckets.values())


def _published(
    checksums: Mapping[Scope, Mapping[int, tuple[int, int, int]]], excluded: DataFrame | None, policy: Policy
) -> Mapping[Scope, Mapping[int, tuple[int, int, int]]]:
    """The checksums to keep: without the buckets of identities that the snapshot says nothing about (never equal)."""
    if excluded is None:
        return checksums
    unsure = _buckets_of(excluded, policy)
    return {
        scope: dict.fromkeys(unsure.get(scope, set()), (-1, 0, 0)) | {
            b: sums for b, sums in buckets.items() if b not in unsure.get(scope, set())
        }
        for scope, buckets in checksums.items()
    }  # fmt: skip


# --- logging --------------------------------------------------------------------------------------------------


def append_snapshot(table: Readable, comparison: Comparison, batch: Batch) -> Commit:
    """Log the snapshot: its records, its differences and what they make necessary to say again; one commit."""
    snapshot, policy = comparison.snapshot, table.policy
    widen_log(table)
    schema = table.log_schema(comparison.changes)
    records = [_record_row(scope, comparison, schema) for scope in snapshot.scopes]
    if not comparison.differs and comparison.excluded is None and table.store.exists(table.layer, table.log_table):
        release(comparison)
        return table.store.append_few(
            records, schema, table.layer, table.log_table, txn=transaction(table.layer, table.log_table),
            version=batch.number, is_fenced=True, note={**table.log_note("snapshot"), **batch.note()},
        )  # fmt: skip
    rows = table.store.frame(records, schema)
    if comparison.changes is not None and comparison.differs:
        stated = comparison.changes.select(
            *policy.identity, *policy.payload, "op",
            F.lit(snapshot.as_of).alias("valid_from"),
            F.lit(snapshot.sequence).cast(schema["sequence"].dataType).alias("sequence"),
            F.lit(snapshot.recorded_at).alias("recorded_at"),
            F.lit(snapshot.manifest).alias("manifest"),
            F.lit(snapshot.contract_version).alias("contract_version"),
        )  # fmt: skip
        rows = rows.unionByName(table.as_log(stated))
        again = None if comparison.is_latest else reassertion.reassertions(table, stated)
        if again is not None:
            rows = rows.unionByName(table.as_log(again))
    if comparison.excluded is not None:  # so that nothing is asserted of them later
        rows = rows.unionByName(_excluded(comparison.excluded, snapshot, schema, policy))
    commit = table.append_batch(rows, batch, "changes" if comparison.differs else "snapshot")
    release(comparison)
    return commit


def release(comparison: Comparison) -> None:
    """Give back what a comparison holds in memory."""
    if comparison.changes is not None:
        comparison.changes.unpersist()


def _excluded(identities: DataFrame, snapshot: Snapshot, schema: T.StructType, policy: Policy) -> DataFrame:
    values = {
        "valid_from": snapshot.as_of, "sequence": snapshot.sequence, "recorded_at": snapshot.recorded_at,
        "manifest": snapshot.manifest, "contract_version": snapshot.contract_version, "record": "excluded",
    }  # fmt: skip
    others = [F.lit(values.get(f.name)).cast(f.dataType).alias(f.name) for f in schema if f.name not in policy.identity]
    return identities.select(*policy.identity).distinct().select(*policy.identity, *others)


def _record_row(scope: Scope, comparison: Comparison, schema: T.StructType) -> tuple[object, ...]:
    snapshot = comparison.snapshot
    detail = {
        "rows": comparison.counts[scope].rows,
        "is_latest": comparison.is_latest,
        "checksums": {str(b): sums if sums[0] >= 0 else None for b, sums in comparison.checksums[scope].items()},
    }
    values: dict[str, object] = {
        "scope_country": scope.country, "scope_entity": scope.entity, "op": "snapshot", "valid_from": snapshot.as_of,
        "sequence": snapshot.sequence, "recorded_at": snapshot.recorded_at, "manifest": snapshot.manifest,
        "contract_version": snapshot.contract_version, "detail": json.dumps(detail), "record": "snapshot",
    }  # fmt: skip
    return tuple(values.get(f.name) for f in schema)
