"""Snapshots, and the record that the log keeps of every accepted one: one row per scope."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from varve.history import Policy
from varve.history_table.positions import STATISTICS_STEP, sortable
from varve.history_table.tables import Tables
from varve.model.clock import utc
from varve.model.scope import SCOPE_COLUMNS, Scope
from varve.storage.delta_log import Conditions


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
class SnapshotRecord:
    """An accepted snapshot in the log, for one scope. detail: its checksums (JSON), where they were asked for."""

    scope: Scope
    as_of: datetime
    sequence: object
    recorded_at: datetime
    manifest: str
    contract_version: str
    detail: str | None = field(default=None, repr=False)


def accepted(table: Tables, *, since: datetime | None = None) -> list[SnapshotRecord]:
    """The accepted snapshots in the order of their positions, without details. since (UTC): those from then on."""
    found = _records(table, [] if since is None else [[("valid_from", ">=", since - STATISTICS_STEP)]])
    return [record for record in found if since is None or record.as_of >= since]


def last(table: Tables, scopes: Collection[Scope]) -> dict[Scope, SnapshotRecord]:
    """The last snapshot of each scope, with its detail; found by the statistics of the log's files."""
    by = table.policy.order[0]
    latest: dict[Scope, list[Any]] = {}
    for file in table.store.files(table.layer, table.log_table):
        if file["partition.record"] == "snapshot" and (scope := scope_of(file)) in scopes:
            latest.setdefault(scope, []).append(file.get(f"max.{by}"))
    where: list[Conditions] = []
    for scope, found in latest.items():
        here = [("scope_country", "=", scope.country), ("scope_entity", "=", scope.entity)]
        where.append(here if None in found else [*here, (by, ">=", max(found))])
    return {record.scope: record for record in _records(table, where, "detail")} if where else {}


def _records(table: Tables, where: Sequence[Conditions], *more: str) -> list[SnapshotRecord]:
    """The accepted snapshots in the order of their positions, read without a Spark job. more: columns."""
    columns = (*SCOPE_COLUMNS, "valid_from", "sequence", "recorded_at", "manifest", "contract_version", *more)
    rows = table.store.small(table.layer, table.log_table, columns=columns, where=where, record="snapshot")
    found = [
        SnapshotRecord(
            scope=Scope(*(row[c] for c in SCOPE_COLUMNS)), as_of=row["valid_from"].astimezone(UTC),
            sequence=row["sequence"], recorded_at=row["recorded_at"].astimezone(UTC), manifest=row["manifest"],
            contract_version=row["contract_version"], detail=row.get("detail"),
        )
        for row in rows
    ]  # fmt: skip
    return sorted(found, key=lambda r: (sortable(position(table.policy, r)), r.recorded_at, r.manifest))


def position(policy: Policy, record: SnapshotRecord) -> tuple[object, ...]:
    """Where a snapshot stands among the changes: its sequence, or its moment and sequence."""
    return (record.sequence,) if policy.domain == "sequence" else (record.as_of, record.sequence)


def with_previous(
    known: Iterable[SnapshotRecord], policy: Policy
) -> list[tuple[SnapshotRecord, SnapshotRecord | None]]:
    """Every record with the one before it in its scope, of another position; known: in the order of positions."""
    pairs: list[tuple[SnapshotRecord, SnapshotRecord | None]] = []
    latest: dict[Scope, tuple[SnapshotRecord, SnapshotRecord | None]] = {}
    for record in known:
        before, earlier = latest.get(record.scope, (None, None))
        if before is not None and position(policy, before) == position(policy, record):
            before = earlier
        latest[record.scope] = record, before
        pairs.append(latest[record.scope])
    return pairs


def scope_of(file: Mapping[str, Any]) -> Scope:
    """The scope of a file of the log, by its partition."""
    return Scope(*(file[f"partition.{c}"] for c in SCOPE_COLUMNS))


def may_reach(file: Mapping[str, Any], policy: Policy, as_of: datetime, sequence: Any) -> bool:
    """Whether a file of the log may hold anything at or after a position, by its statistics. In a sequence domain
    also what comes later in time alone: see `snapshots._calls_by_name`."""
    latest = file.get("max.valid_from")
    if latest is None or utc(latest) + STATISTICS_STEP > as_of:
        return True
    greatest = file.get("max.sequence")
    return policy.domain == "sequence" and (greatest is None or sortable([greatest]) >= sortable([sequence]))
