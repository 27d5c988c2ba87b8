"""Complete snapshots in an entity's log: compare, guard's numbers, log the differences, re-assert on late arrivals.

The log holds of a snapshot its record (one row per scope) and the rows that differ from the state before it. The rows
that do not differ are asserted all the same, silently; so whatever arrives from before a snapshot is followed by that
snapshot's assertion on the keys it touches, written out, with the snapshot's own position, time of recording and
manifest.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from varve import history
from varve.clock import microseconds, of_microseconds, utc
from varve.errors import ContractError
from varve.history import Policy
from varve.scope import SCOPE_COLUMNS, Scope, in_scopes
from varve.store import Commit, Conditions

if TYPE_CHECKING:
    from varve.history_table import HistoryTable

CALL: Final = ("_snapshot", "_as_of", "_sequence", "_manifest")  # a snapshot that is called to speak

_Place = tuple[Any, ...]  # a position that Python can sort

BUCKETS: Final = 256
LOW_BITS: Final = 0xFFFFFFFF
STATISTICS_STEP: Final = timedelta(milliseconds=1)  # Delta keeps the greatest timestamp of a file in whole milliseconds


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A complete picture of `scopes` at `as_of` [UTC, when its reading began]; a scope that is not listed proves
    nothing.

    sequence: the position in the domain of the entity's changes, when it has one.
    """

    manifest: str
    scopes: tuple[Scope, ...]
    as_of: datetime
    recorded_at: datetime
    sequence: object = None
    contract_version: str = ""


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


@dataclass(frozen=True, slots=True)
class Record:
    """An accepted snapshot in the log, for one scope. detail: its checksums (JSON), where they were asked for."""

    scope: Scope
    as_of: datetime
    sequence: object
    recorded_at: datetime
    manifest: str
    contract_version: str
    detail: str | None = field(default=None, repr=False)


def records(table: HistoryTable, *, since: datetime | None = None) -> list[Record]:
    """The accepted snapshots in the order of their positions, without details. since (UTC): those from then on."""
    found = _records(table, [] if since is None else [[("valid_from", ">=", since - STATISTICS_STEP)]])
    return [record for record in found if since is None or record.as_of >= since]


def _last(table: HistoryTable, scopes: Collection[Scope]) -> dict[Scope, Record]:
    """The last snapshot of each scope, with its detail; the statistics of the log's files tell where it is."""
    by = table.policy.order[0]
    latest: dict[Scope, list[Any]] = {}
    for file in table.store.files(table.layer, table.log_table):
        if file["partition.record"] == "snapshot" and (scope := _scope_of(file)) in scopes:
            latest.setdefault(scope, []).append(file.get(f"max.{by}"))
    where: list[Conditions] = []
    for scope, found in latest.items():
        here = [("scope_country", "=", scope.country), ("scope_entity", "=", scope.entity)]
        where.append(here if None in found else [*here, (by, ">=", max(found))])
    return {record.scope: record for record in _records(table, where, "detail")} if where else {}


def _records(table: HistoryTable, where: Sequence[Conditions], *more: str) -> list[Record]:
    """The accepted snapshots in the order of their positions, read without a Spark job. more: columns."""
    columns = (*SCOPE_COLUMNS, "valid_from", "sequence", "recorded_at", "manifest", "contract_version", *more)
    rows = table.store.small(table.layer, table.log_table, columns=columns, where=where, record="snapshot")
    found = [
        Record(
            scope=Scope(*(row[c] for c in SCOPE_COLUMNS)), as_of=row["valid_from"].astimezone(UTC),
            sequence=row["sequence"], recorded_at=row["recorded_at"].astimezone(UTC), manifest=row["manifest"],
            contract_version=row["contract_version"], detail=row.get("detail"),
        )
        for row in rows
    ]  # fmt: skip
    return sorted(found, key=lambda r: (_sortable(_position(table.policy, r)), r.recorded_at, r.manifest))


# --- comparing ------------------------------------------------------------------------------------------------


def compare(table: HistoryTable, rows: DataFrame, snapshot: Snapshot, excluded: DataFrame | None) -> Comparison:
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


def _twins(table: HistoryTable, snapshot: Snapshot) -> frozenset[Scope]:
    """The scopes of the snapshot of which the log has another one of that very moment."""
    found = {record.scope for record in records(table, since=snapshot.as_of) if record.as_of == snapshot.as_of}
    return frozenset(found.intersection(snapshot.scopes))


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


def _reaches(table: HistoryTable, snapshot: Snapshot) -> bool:
    """Whether the log may hold anything at or behind the snapshot in its scopes, by the statistics of its files."""
    scopes = set(snapshot.scopes)
    return any(
        file["partition.record"] not in ("waiting", "horizon")
        and _scope_of(file) in scopes
        and _may_reach(file, table.policy, snapshot.as_of, snapshot.sequence)
        for file in table.store.files(table.layer, table.log_table)
    )


def _scope_of(file: Mapping[str, Any]) -> Scope:
    return Scope(*(file[f"partition.{c}"] for c in SCOPE_COLUMNS))


def _may_reach(file: Mapping[str, Any], policy: Policy, as_of: datetime, sequence: Any) -> bool:
    """Whether a file of the log may hold anything at or behind a position, by its statistics. In a sequence domain
    also what comes later in time alone: see `_calls_by_name`."""
    latest = file.get("max.valid_from")
    if latest is None or utc(latest) + STATISTICS_STEP > as_of:
        return True
    greatest = file.get("max.sequence")
    return policy.domain == "sequence" and (greatest is None or _sortable([greatest]) >= _sortable([sequence]))


def _suspect_buckets(
    table: HistoryTable,
    checksums: Mapping[Scope, Mapping[int, tuple[int, int, int]]],
    snapshot: Snapshot,
    excluded: DataFrame | None,
) -> dict[Scope, set[int]]:
    """Per scope the buckets in which the snapshot may differ from the state before it."""
    last = _last(table, snapshot.scopes)
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


def _touched_since(table: HistoryTable, bases: Mapping[Scope, Record]) -> dict[Scope, set[int]]:
    """Buckets with changes at or behind the last snapshot of their scope, other than its own."""
    policy = table.policy
    if not any(
        file["partition.record"] == "change"
        and (base := bases.get(_scope_of(file))) is not None
        and _may_reach(file, policy, base.as_of, base.sequence)
        for file in table.store.files(table.layer, table.log_table)
    ):
        return {}
    since = reduce(
        Column.__or__,
        [
            (F.col("scope_country") == scope.country)
            & (F.col("scope_entity") == scope.entity)
            & ~_is_before(policy, F.lit(base.as_of), F.lit(base.sequence))
            & (F.col("manifest") != base.manifest)
            for scope, base in bases.items()
        ],
    )
    return _buckets_of(table.log().filter(since), policy)


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


def _state_before(table: HistoryTable, snapshot: Snapshot, is_latest: bool) -> DataFrame | None:
    """The live rows just before the snapshot in its scopes, None when the log is empty."""
    if not table.store.exists(table.layer, table.log_table):
        return None
    if is_latest:
        return table.read().filter(in_scopes(snapshot.scopes)).filter("is_current")
    before = (
        table.log()
        .filter(in_scopes(snapshot.scopes))
        .filter(_is_before(table.policy, F.lit(snapshot.as_of), F.lit(snapshot.sequence)))
    )
    return history.timeline(before, table.policy).filter("is_current")


def _is_before(policy: Policy, as_of: Column, sequence: Column) -> Column:
    """Whether a change lies before the position (as_of, sequence), nulls lowest."""
    own = F.col("sequence")
    lower = sequence.isNotNull() & (own.isNull() | F.coalesce(own < sequence, F.lit(False)))
    if policy.domain == "sequence":
        return lower
    return (F.col("valid_from") < as_of) | ((F.col("valid_from") == as_of) & lower)


def _calls_by_name(policy: Policy, snapshot: Snapshot) -> Column:
    """Whether a change makes its key be written out by a snapshot that does not differ: silence would not do there.

    What stands at the snapshot's own position contradicts it or agrees with it. In a sequence domain a lower sequence
    may have a later time; only a written statement hides it."""
    as_of, sequence = F.lit(snapshot.as_of), F.lit(snapshot.sequence)
    at = _is_at(policy, as_of, sequence)
    if policy.domain == "time":
        return at
    return at | (_is_before(policy, as_of, sequence) & (F.col("valid_from") >= as_of))


def _is_at(policy: Policy, as_of: Column, sequence: Column) -> Column:
    """Whether a change stands at the position (as_of, sequence)."""
    same = F.col("sequence").eqNullSafe(sequence)
    return same if policy.domain == "sequence" else same & (F.col("valid_from") == as_of)


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


def append(table: HistoryTable, comparison: Comparison) -> Commit:
    """Log the snapshot: its records, its differences and what they make necessary to say again; one commit, once."""
    snapshot, policy = comparison.snapshot, table.policy
    table.widen_log()
    schema = table.log_schema(comparison.changes)
    records = [_record_row(scope, comparison, schema) for scope in snapshot.scopes]
    if not comparison.differs and comparison.excluded is None and table.store.exists(table.layer, table.log_table):
        release(comparison)
        return table.store.append_few(
            records, schema, table.layer, table.log_table, txn=snapshot.manifest, note=table.log_note("snapshot")
        )
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
        again = None if comparison.is_latest else reassertions(table, stated)
        if again is not None:
            rows = rows.unionByName(table.as_log(again))
    if comparison.excluded is not None:  # so that nothing is asserted of them later
        rows = rows.unionByName(_excluded(comparison.excluded, snapshot, schema, policy))
    commit = table.append_records(
        rows, txn=snapshot.manifest, note=table.log_note("changes" if comparison.differs else "snapshot")
    )
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


def reassertions(table: HistoryTable, arriving: DataFrame) -> DataFrame | None:
    """What the snapshots behind arriving changes assert of the keys that these touch; None when there is none.

    arriving: changes not yet in the log. Each calls on the next snapshot of its scope, and on one at its own position.
    """
    policy, names = table.policy, list(table.policy.identity)
    if not table.store.rows(table.layer, table.log_table, record="snapshot"):
        return None
    arriving = arriving.select(*names, "valid_from", "sequence").distinct().persist()
    try:
        position = _place_of(arriving, policy)
        span = arriving.agg(F.min(position), F.max(position)).first()
        assert span is not None
        if span[0] is None:
            return None
        known = records(table, since=of_microseconds(span[0][0]) if policy.domain == "time" else None)
        called = _called(table, known, _sortable(span[0]), _sortable(span[1]))
        if called is None:
            return None
        reaches = _is_at_or_before(policy, "_as_of", "_sequence") & ~_is_before(
            policy, F.col("_earlier_as_of"), F.col("_earlier_sequence")
        )
        pairs = arriving.join(F.broadcast(called), list(SCOPE_COLUMNS)).filter(F.coalesce(reaches, F.lit(True)))
        calls = pairs.select(*names, *CALL).distinct().localCheckpoint()
    finally:
        arriving.unpersist()
    return None if calls.isEmpty() else _asserted(table, _past_exclusions(table, calls, known), known)


def _past_exclusions(table: HistoryTable, calls: DataFrame, known: list[Record]) -> DataFrame:
    """The calls, and where a called snapshot says nothing of the key, calls on the ones that follow until one does."""
    if not table.store.rows(table.layer, table.log_table, record="excluded"):
        return calls
    names = list(table.policy.identity)
    excluded = (
        table.records().filter("record = 'excluded'").select(*names, F.col("manifest").alias("_manifest")).distinct()
    )
    pairs = _with_previous(known, table.policy)
    place = {id(record): index for index, (record, _) in enumerate(pairs)}
    rows = [(place[id(b)], i, r.as_of, r.sequence, r.manifest) for i, (r, b) in enumerate(pairs) if b is not None]
    number = table.log_schema(None)["sequence"].dataType.simpleString()
    schema = f"_earlier int, _snapshot int, _as_of timestamp, _sequence {number}, _manifest string"
    following = F.broadcast(table.store.frame(rows, schema))
    found = calls
    while True:
        unheard = calls.join(excluded, [*names, "_manifest"], "left_semi").select(
            *names, F.col("_snapshot").alias("_earlier")
        )
        calls = unheard.join(following, "_earlier").select(*names, *CALL).localCheckpoint()
        if calls.isEmpty():
            return found.distinct()
        found = found.unionByName(calls)


def _called(table: HistoryTable, known: list[Record], first: _Place, last: _Place) -> DataFrame | None:
    """The records that changes between two positions can call on, each with the one before it in its scope."""
    policy = table.policy
    rows = [
        (*_scope_pair(r.scope), i, r.as_of, r.sequence, r.manifest, b and b.as_of, b and b.sequence)
        for i, (r, b) in enumerate(_with_previous(known, policy))
        if _sortable(_position(policy, r)) >= first and (b is None or _sortable(_position(policy, b)) <= last)
    ]
    if not rows:
        return None
    number = table.log_schema(None)["sequence"].dataType.simpleString()
    schema = (
        f"scope_country string, scope_entity string, _snapshot int, _as_of timestamp, "
        f"_sequence {number}, _manifest string, _earlier_as_of timestamp, _earlier_sequence {number}"
    )
    return table.store.frame(rows, schema)


def _asserted(table: HistoryTable, calls: DataFrame, known: list[Record]) -> DataFrame:
    """What snapshots silently assert: the state before them, of the called keys that they do not name in the log.

    calls: (identity, _snapshot, _as_of, _sequence, _manifest), unique by identity and snapshot.
    """
    policy, names = table.policy, [*table.policy.identity, "_snapshot"]
    rows = table.records().join(F.broadcast(calls), list(policy.identity))
    at = _is_at(policy, F.col("_as_of"), F.col("_sequence")) & (F.col("manifest") == F.col("_manifest"))
    spoken = rows.filter(at & F.col("record").isin("change", "excluded")).select(*names).distinct()
    before = rows.filter((F.col("record") == "change") & _is_before(policy, F.col("_as_of"), F.col("_sequence")))
    each = replace(policy, keys=(*policy.keys, "_snapshot"))
    state = (
        history.timeline(before, each).filter("is_current").select(*names, *policy.payload, F.lit("upsert").alias("op"))
    )
    recorded = table.store.frame(
        [(i, r.recorded_at, r.contract_version) for i, (r, _) in enumerate(_with_previous(known, policy))],
        "_snapshot int, recorded_at timestamp, contract_version string",
    )
    return (
        calls.join(spoken, names, "left_anti")
        .join(state, names, "left")
        .join(F.broadcast(recorded), "_snapshot")
        .select(
            *policy.identity,
            *policy.payload,
            F.coalesce("op", F.lit("delete")).alias("op"),
            F.col("_as_of").alias("valid_from"),
            F.col("_sequence").alias("sequence"),
            "recorded_at",
            F.col("_manifest").alias("manifest"),
            "contract_version",
        )
    )


def _is_at_or_before(policy: Policy, as_of: str, sequence: str) -> Column:
    return _is_before(policy, F.col(as_of), F.col(sequence)) | _is_at(policy, F.col(as_of), F.col(sequence))


def _scope_pair(scope: Scope) -> tuple[str, str]:
    return scope.country, scope.entity


def _place_of(statements: DataFrame, policy: Policy) -> Column:
    """What orders statements across keys, times as microseconds since 1970: PySpark collects a timestamp in the time
    zone of the machine."""
    is_time = {name: isinstance(statements.schema[name].dataType, T.TimestampType) for name in policy.order}
    return F.struct(*(F.unix_micros(name).alias(name) if is_time[name] else F.col(name) for name in policy.order))


def _position(policy: Policy, record: Record) -> tuple[object, ...]:
    return (record.sequence,) if policy.domain == "sequence" else (record.as_of, record.sequence)


def _sortable(position: Iterable[Any]) -> _Place:
    """A position that Python orders as Spark does: nulls lowest, times as microseconds since 1970."""
    values = (microseconds(v) if isinstance(v, datetime) else v for v in position)
    return tuple((value is not None, value or 0) for value in values)


def _with_previous(known: Iterable[Record], policy: Policy) -> list[tuple[Record, Record | None]]:
    """Every record with the one before it in its scope, of another position; known: in the order of positions."""
    pairs: list[tuple[Record, Record | None]] = []
    latest: dict[Scope, tuple[Record, Record | None]] = {}
    for record in known:
        before, earlier = latest.get(record.scope, (None, None))
        if before is not None and _position(policy, before) == _position(policy, record):
            before = earlier
        latest[record.scope] = record, before
        pairs.append(latest[record.scope])
    return pairs
