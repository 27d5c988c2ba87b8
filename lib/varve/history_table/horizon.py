"""The horizon of an entity's history: the moment before which it knows nothing any more.

It is recorded first, once and for all (`horizon` rows of the log, one per scope; it never goes back), and every
function honours it from then on. Then each key's changes before it become one anchor in the log (`history.expired`),
then the versions that ended before it go. The next fold or expiry ends what a run that died has begun.

What is before it: in a time domain, whatever is valid from before the moment. In a sequence domain also whatever has
a number up to the greatest that its scope had from before the moment: all those numbers have been judged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from varve.history import Policy
from varve.history_table.positions import STATISTICS_STEP
from varve.history_table.rearrangements import ANCHORED
from varve.history_table.snapshot_log import Snapshot
from varve.history_table.tables import Tables
from varve.model.clock import utc
from varve.model.errors import ContractError
from varve.model.scope import SCOPE_COLUMNS, Scope
from varve.storage.delta import Store

HORIZON: Final = "horizon"  # record of the log, and the transaction that recorded it
TRIMMED: Final = "trimmed"
FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
OF_MOMENT: Final = timedelta(microseconds=1)  # transactions are numbered by the moment


@dataclass(frozen=True, slots=True)
class Horizon:
    """moment: UTC. sequences: in a sequence domain, per scope the greatest number before it. known_at: when the last of
    what is before it was recorded; None: nothing lay there."""

    moment: datetime
    sequences: Mapping[Scope, Any]
    known_at: datetime | None

    def hides(self, policy: Policy, *, valid_from: str = "valid_from", sequence: str = "sequence") -> Column:
        """Whether a change is before the horizon."""
        hidden = F.col(valid_from) < F.lit(self.moment)
        for scope, number in self.sequences.items() if policy.domain == "sequence" else ():
            judged = F.col(sequence).isNull() | (F.col(sequence) <= F.lit(number))
            hidden |= (F.col("scope_country") == scope.country) & (F.col("scope_entity") == scope.entity) & judged
        return F.coalesce(hidden, F.lit(False))

    def hides_snapshot(self, policy: Policy, scope: Scope, as_of: datetime, sequence: Any) -> bool:
        """Whether a snapshot is before the horizon in a scope."""
        if as_of < self.moment:
            return True
        number = self.sequences.get(scope) if policy.domain == "sequence" else None
        return number is not None and (sequence is None or sequence <= number)


def since(retain: str, now: datetime) -> datetime:
    """Where the horizon of a table belongs that keeps its history for `retain` (`90d`, `8w`, `18m`, `10y`).

    It moves by whole days, with months and years by whole months: each move rewrites the scopes where something
    expires."""
    found = re.fullmatch(r"([1-9][0-9]*)([dwmy])", retain)
    if found is None:
        raise ContractError("retain.history is no duration", found=retain, expected="such as 90d, 8w, 18m or 10y")
    number, unit = int(found[1]), found[2]
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if unit in "dw":
        return today - timedelta(days=number * (7 if unit == "w" else 1))
    months = today.year * 12 + today.month - 1 - number * (12 if unit == "y" else 1)
    return today.replace(year=months // 12, month=months % 12 + 1, day=1)


def of(table: Tables) -> Horizon | None:
    """The horizon of a table, None when nothing has expired; no Spark job."""
    return recorded_horizon(table.store, table.layer, table.log_table)


def recorded_horizon(store: Store, layer: str, log_table: str) -> Horizon | None:
    """The horizon that a log has recorded, None when nothing has expired; no Spark job."""
    if store.transaction(layer, log_table, HORIZON) is None:
        return None
    moment, numbers, known = FIRST, dict[Scope, Any](), FIRST
    for row in store.small(layer, log_table, record=HORIZON):
        scope = Scope(*(row[c] for c in SCOPE_COLUMNS))
        moment = max(moment, utc(row["valid_from"]))
        if row["sequence"] is not None:
            numbers[scope] = max(row["sequence"], numbers.get(scope, row["sequence"]))
        if row["recorded_at"] is not None:
            known = max(known, utc(row["recorded_at"]))
    return Horizon(moment, numbers, known if known > FIRST else None)


def may_pass_over(table: Tables, moment: datetime) -> bool:
    """Whether a horizon at a moment may have anything before it that no earlier expiry has seen, by the statistics of
    the log's files; no Spark job."""
    anchored = table.store.transaction(table.layer, table.log_table, ANCHORED)
    reached = FIRST if anchored is None else FIRST + anchored * OF_MOMENT
    for file in table.store.files(table.layer, table.log_table):
        earliest, latest = file.get("min.valid_from"), file.get("max.valid_from")
        if file["partition.record"] not in ("waiting", HORIZON) and (
            earliest is None or latest is None or (utc(earliest) < moment and utc(latest) + STATISTICS_STEP >= reached)
        ):
            return True
    return False


# --- honouring it ---------------------------------------------------------------------------------------------


def ahead(table: Tables, changes: DataFrame) -> DataFrame:
    """The changes that are not before the horizon."""
    found = of(table)
    return changes if found is None else changes.filter(~found.hides(table.policy))


def must_not_hide(found: Horizon | None, entity: str, valid_at: datetime) -> None:
    """Raise ContractError when a history with this horizon does not know any more what was valid at a moment
    (aware)."""
    if found is not None and valid_at < found.moment:
        raise ContractError(
            "history before the horizon has expired", where=f"silver.{entity}",
            found=valid_at.isoformat(), expected=f"{found.moment.isoformat()} or later",
            remedy=f'./spark-submit.sh sql --as-of {_typed(found.moment)} "select * from silver.{entity}" '
            "is the earliest time that it knows.",
        )  # fmt: skip


def must_not_merge(found: Horizon | None, entity: str, known_at: datetime) -> None:
    """Raise ContractError when a history with this horizon does not know any more what was known at a moment
    (aware)."""
    if found is not None and found.known_at is not None and known_at < found.known_at:
        raise ContractError(
            "the history no longer knows what was known then: what is before its horizon was merged",
            where=f"silver.{entity}", found=known_at.isoformat(), expected=f"{found.known_at.isoformat()} or later",
            remedy=f"{found.known_at.isoformat()} is the earliest time of knowledge that can be asked.",
        )  # fmt: skip


def _typed(moment: datetime) -> str:
    """A moment as a person types it: the day, where that is all."""
    return moment.date().isoformat() if moment.time() == time() else moment.isoformat()


def must_not_hide_snapshot(table: Tables, snapshot: Snapshot) -> None:
    """Raise ContractError when a snapshot is before the horizon."""
    found = of(table)
    policy = table.policy
    for scope in snapshot.scopes if found else ():
        assert found is not None
        if found.hides_snapshot(policy, scope, snapshot.as_of, snapshot.sequence):
            raise ContractError(
                "the snapshot is before the horizon of the history: what it would be compared with is not kept",
                where=f"silver.{table.entity} {scope}, manifest {snapshot.manifest}", found=snapshot.as_of.isoformat(),
                expected=f"{found.moment.isoformat()} or later",
                remedy=f"./spark-submit.sh silver --table {table.entity} --scope {scope} "
                '--discard "from before the horizon" lets the later ones go on.',
            )  # fmt: skip


# --- versions before it ---------------------------------------------------------------------------------------


def trim(table: Tables) -> int:
    """Remove the versions that the horizon has passed, and return how many.

    One that ends at the very horizon stays: what ends it may still be taken back. A tombstone goes once it began before
    the horizon: that there is nothing is said as well by no row.
    """
    found = of(table)
    if found is None:
        return 0
    at = F.lit(found.moment)
    ended = (F.col("is_open") == F.lit(False)) & (F.col("valid_to") < at)
    note = {"kind": TRIMMED, "horizon": found.moment.isoformat()}
    return table.store.remove(ended | is_gone(at), table.layer, table.entity, note=note)


def is_gone(at: Column) -> Column:
    """Whether a version says nothing more than no row would: a tombstone that began before the horizon."""
    return F.col("is_deleted") & (F.col("valid_from") < at)
