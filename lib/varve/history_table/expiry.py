"""Moving the horizon of an entity's history: what lies before it is given up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import functions as F

from varve import history
from varve.history_table import snapshot_log
from varve.history_table.folding import fold
from varve.history_table.horizon import FIRST, HORIZON, OF_MOMENT, Horizon, is_gone, of
from varve.history_table.pending import Readable
from varve.history_table.rearrangements import ANCHORED
from varve.history_table.tables import Tables
from varve.model.clock import of_microseconds
from varve.model.errors import ContractError
from varve.model.scope import SCOPE_COLUMNS, Scope, in_scopes


@dataclass(frozen=True, slots=True)
class Expiry:
    """What an expiry did. moment: where the horizon is now, None without a log; changes, versions: [rows] removed."""

    moment: datetime | None = None
    changes: int = 0
    versions: int = 0


def expire(table: Readable, before: datetime) -> Expiry:
    """Give up what lies before a moment: record the horizon, anchor the log, trim the versions; once.

    before: an aware datetime; a horizon that is later already stays where it is. The versions say of every time from
    the horizon on what they said, and say so whatever else arrives.
    """
    if before.tzinfo is None:
        raise ContractError(
            "a horizon needs a time zone", where=f"silver.{table.entity}", found=before.isoformat(),
            expected=f"such as {before.replace(tzinfo=UTC).isoformat()}",
        )  # fmt: skip
    if not table.store.exists(table.layer, table.log_table):
        return Expiry()
    fold(table)
    reached = of(table)
    moment = before.astimezone(UTC) if reached is None else max(before.astimezone(UTC), reached.moment)
    lots = _before(table, moment, reached)
    _record(table, moment, lots)
    scopes = {scope for scope, lot in lots.items() if lot.due} | _snapshots_before(table)
    rows = _changes(table)
    if scopes:
        _anchor(table, moment, scopes)
    versions = fold(table).trimmed
    return Expiry(moment, rows - _changes(table), versions)


@dataclass(frozen=True, slots=True)
class _Lot:
    """What of a scope is before the horizon. due: rows that no earlier expiry has seen."""

    sequence: Any = None
    known_at: datetime | None = None
    due: int = 0


def _greatest(one: Any, other: Any) -> Any:
    return max((value for value in (one, other) if value is not None), default=None)


def _number(moment: datetime) -> int:
    return (moment - FIRST) // OF_MOMENT


def _changes(table: Tables) -> int:
    return table.store.rows(table.layer, table.log_table, record="change")


def _before(table: Tables, moment: datetime, reached: Horizon | None) -> dict[Scope, _Lot]:
    """Of every scope of the log what is before a moment, with what was before the horizon before: one job."""
    files = table.store.files(table.layer, table.log_table)
    lots = {Scope(file["partition.scope_country"], file["partition.scope_entity"]): _Lot() for file in files}
    anchored = table.store.transaction(table.layer, table.log_table, ANCHORED)
    is_due = F.lit(True) if anchored is None else F.col("valid_from") >= F.lit(FIRST + anchored * OF_MOMENT)
    rows = history.before(table.log(), moment, table.policy).groupBy(*SCOPE_COLUMNS)
    for row in rows.agg(
        F.max("sequence").alias("sequence"),
        F.unix_micros(F.max("recorded_at")).alias("known_at"),
        F.count(F.when(is_due, 1)).alias("due"),
    ).collect():
        scope = Scope(row.scope_country, row.scope_entity)
        number = row.sequence if table.policy.domain == "sequence" else None
        lots[scope] = _Lot(number, of_microseconds(row.known_at), row.due)
    for scope, lot in lots.items() if reached else ():
        assert reached is not None
        lots[scope] = replace(
            lot,
            sequence=_greatest(lot.sequence, reached.sequences.get(scope)),
            known_at=_greatest(lot.known_at, reached.known_at),
        )
    return lots


def _record(table: Tables, moment: datetime, lots: Mapping[Scope, _Lot]) -> None:
    """One commit; none when the horizon is there or further already."""
    schema = table.log_schema(None)
    rows = []
    for scope, lot in lots.items():
        values: dict[str, object] = {
            "scope_country": scope.country, "scope_entity": scope.entity, "op": HORIZON, "valid_from": moment,
            "sequence": lot.sequence, "recorded_at": lot.known_at, "record": HORIZON,
        }  # fmt: skip
        rows.append(tuple(values.get(f.name) for f in schema))
    frame = table.store.frame(rows, schema)
    table.append_marks(frame, txn=HORIZON, version=_number(moment), kind=HORIZON)


def _snapshots_before(table: Tables) -> set[Scope]:
    """The scopes of which the log has records of snapshots before the horizon."""
    found = of(table)
    assert found is not None
    return {
        record.scope
        for record in snapshot_log.accepted(table)
        if found.hides_snapshot(table.policy, record.scope, record.as_of, record.sequence)
    }


def _anchor(table: Tables, moment: datetime, scopes: set[Scope]) -> None:
    """Rewrite the log of some scopes: anchors in place of what they stand for, in one commit."""
    found = of(table)
    assert found is not None
    names, at = list(table.policy.identity), F.lit(moment)
    where = in_scopes(sorted(scopes))
    head = table.head()
    logged = table.store.read(table.layer, table.log_table, version=head).filter(where)
    later = {c: F.lit(None).cast("string") for c in table.policy.payload if c not in logged.columns}
    changes = history.expired(logged.filter("record = 'change'").withColumns(later), moment, table.policy)
    changes = changes.drop(*later).withColumn("record", F.lit("change"))
    pictures = logged.filter(F.col("record").isin("snapshot", "excluded")).filter(~found.hides(table.policy))
    horizons = logged.filter((F.col("record") == HORIZON) & (F.col("valid_from") == at))
    rows = changes.unionByName(pictures).unionByName(horizons)
    # A key that loses its only version, and of which something is said later, is to be read from its log.
    waiting = logged.filter("record = 'waiting'").select(*names)
    gone = table.versions().filter(where).filter("is_open").filter(is_gone(at)).select(*names)
    waiting = waiting.unionByName(gone).distinct().join(changes.select(*names), names, "left_semi")
    marks = waiting.withColumn("record", F.lit("waiting"))
    table.store.replace(
        rows.unionByName(marks, allowMissingColumns=True).select(
            *(F.col(f.name).cast(f.dataType).alias(f.name) for f in logged.schema)
        ),
        table.layer, table.log_table, where=where, txn=ANCHORED, version=_number(moment), based_on=head,
        note={"kind": ANCHORED, "horizon": moment.isoformat()},
    )  # fmt: skip
