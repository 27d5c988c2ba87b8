"""What snapshots assert in silence, written out for the keys of which something arrives from before them.

The log holds of a snapshot the rows that differ from the state before it. Those that do not differ are asserted all the
same; so whatever arrives from before a snapshot is followed by that snapshot's assertion on the keys it touches, with
the snapshot's own position, time of recording and manifest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from varve import history
from varve.history_table.positions import Place, is_at, is_at_or_before, is_before, place_of, sortable
from varve.history_table.snapshot_log import SnapshotRecord, accepted, position, with_previous
from varve.history_table.tables import Tables
from varve.model.clock import of_microseconds
from varve.model.scope import SCOPE_COLUMNS, Scope

CALL: Final = ("_snapshot", "_as_of", "_sequence", "_manifest")  # a snapshot that is called to speak


def reassertions(table: Tables, arriving: DataFrame) -> DataFrame | None:
    """What the snapshots behind arriving changes assert of the keys that these touch; None when there is none.

    arriving: changes not yet in the log. Each calls on the next snapshot of its scope, and on one at its own position.
    """
    policy, names = table.policy, list(table.policy.identity)
    if not table.store.rows(table.layer, table.log_table, record="snapshot"):
        return None
    arriving = arriving.select(*names, "valid_from", "sequence").distinct().persist()
    try:
        position = place_of(arriving, policy)
        span = arriving.agg(F.min(position), F.max(position)).first()
        assert span is not None
        if span[0] is None:
            return None
        known = accepted(table, since=of_microseconds(span[0][0]) if policy.domain == "time" else None)
        called = _called(table, known, sortable(span[0]), sortable(span[1]))
        if called is None:
            return None
        reaches = is_at_or_before(policy, "_as_of", "_sequence") & ~is_before(
            policy, F.col("_earlier_as_of"), F.col("_earlier_sequence")
        )
        pairs = arriving.join(F.broadcast(called), list(SCOPE_COLUMNS)).filter(F.coalesce(reaches, F.lit(True)))
        calls = pairs.select(*names, *CALL).distinct().localCheckpoint()
    finally:
        arriving.unpersist()
    return None if calls.isEmpty() else _asserted(table, _past_exclusions(table, calls, known), known)


def _past_exclusions(table: Tables, calls: DataFrame, known: list[SnapshotRecord]) -> DataFrame:
    """The calls, and where a called snapshot says nothing of the key, calls on the ones that follow until one does."""
    if not table.store.rows(table.layer, table.log_table, record="excluded"):
        return calls
    names = list(table.policy.identity)
    excluded = (
        table.records().filter("record = 'excluded'").select(*names, F.col("manifest").alias("_manifest")).distinct()
    )
    pairs = with_previous(known, table.policy)
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


def _called(table: Tables, known: list[SnapshotRecord], first: Place, last: Place) -> DataFrame | None:
    """The records that changes between two positions can call on, each with the one before it in its scope."""
    policy = table.policy
    rows = [
        (*_scope_pair(r.scope), i, r.as_of, r.sequence, r.manifest, b and b.as_of, b and b.sequence)
        for i, (r, b) in enumerate(with_previous(known, policy))
        if sortable(position(policy, r)) >= first and (b is None or sortable(position(policy, b)) <= last)
    ]
    if not rows:
        return None
    number = table.log_schema(None)["sequence"].dataType.simpleString()
    schema = (
        f"scope_country string, scope_entity string, _snapshot int, _as_of timestamp, "
        f"_sequence {number}, _manifest string, _earlier_as_of timestamp, _earlier_sequence {number}"
    )
    return table.store.frame(rows, schema)


def _asserted(table: Tables, calls: DataFrame, known: list[SnapshotRecord]) -> DataFrame:
    """What snapshots silently assert: the state before them, of the called keys that they do not name in the log.

    calls: (identity, _snapshot, _as_of, _sequence, _manifest), unique by identity and snapshot.
    """
    policy, names = table.policy, [*table.policy.identity, "_snapshot"]
    rows = table.records().join(F.broadcast(calls), list(policy.identity))
    at = is_at(policy, F.col("_as_of"), F.col("_sequence")) & (F.col("manifest") == F.col("_manifest"))
    spoken = rows.filter(at & F.col("record").isin("change", "excluded")).select(*names).distinct()
    before = rows.filter((F.col("record") == "change") & is_before(policy, F.col("_as_of"), F.col("_sequence")))
    each = replace(policy, keys=(*policy.keys, "_snapshot"))
    state = (
        history.timeline(before, each).filter("is_current").select(*names, *policy.payload, F.lit("upsert").alias("op"))
    )
    recorded = table.store.frame(
        [(i, r.recorded_at, r.contract_version) for i, (r, _) in enumerate(with_previous(known, policy))],
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


def _scope_pair(scope: Scope) -> tuple[str, str]:
    return scope.country, scope.entity
