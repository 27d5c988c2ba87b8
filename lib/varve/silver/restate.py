"""Say again what extracts say, of a day, a scope or an entity: after a corrected delivery, or with corrected rules.

A snapshot is said again at its own moment with a higher sequence, so that it replaces what was said then. Changes are
compared with what the log has of their manifest: what is no longer said is retracted, what is new is added. Both are
appends: the log keeps what was believed before, with the time at which we learned better.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from varve import horizon, snapshots
from varve.errors import ContractError, ParkedError, UsageError
from varve.history import CHANGE_COLUMNS, DELETE, RETRACT
from varve.scope import Scope, in_scopes
from varve.silver.load import EntityLoad, Window, scopes_of
from varve.snapshots import release
from varve.store import Commit


def windows_to_restate(load: EntityLoad, day: date | None, wanted: frozenset[Scope]) -> list[Window]:
    """The extracts that bronze has, in the order of time; of each moment, dataset and scope the last one.

    day: only the extracts of that day; wanted: only these scopes, empty = all. Raises UsageError if there is none.
    """
    found: dict[tuple[str, str, datetime], Window] = {}
    for feed in load.contract.feeds:
        bronze = load.lake.store.loaded("bronze", feed.bronze)
        for manifest in load.manifests(feed):
            scopes = tuple(s for s in scopes_of(manifest) if not wanted or s in wanted)
            is_meant = day is None or manifest.as_of.date() == day
            if is_meant and manifest.status == "landed" and manifest.id in bronze and scopes:
                found[feed.bronze, str(manifest.scope), manifest.as_of] = Window(feed, manifest, scopes)
    if not found:
        asked = [str(scope) for scope in sorted(wanted)] + ([] if day is None else [day.isoformat()])
        raise UsageError(
            "bronze has no extract of that", where=load.table, found=" ".join(asked) or "nothing is loaded",
            expected=f"one of the days {', '.join(_days(load))}" if _days(load) else None,
        )  # fmt: skip
    return sorted(found.values(), key=lambda window: window.manifest.order)


def restate(load: EntityLoad, window: Window, *, accept: bool = False) -> Commit:
    """Say a window again; version None when it says what the log says already.

    Raises ParkedError when the guard refuses a scope of a snapshot and accept is not given.
    """
    rows = load.conformed(window).where(in_scopes(window.scopes)).persist()
    try:
        return _snapshot(load, window, rows, accept) if window.asserts_absence else _changes(load, window, rows)
    finally:
        rows.unpersist()


def _snapshot(load: EntityLoad, window: Window, rows: DataFrame, accept: bool) -> Commit:
    if load.history.policy.domain == "sequence":
        raise ContractError("a snapshot ordered by the source's sequence cannot be said again", where=load.table)
    known = [
        r for r in snapshots.records(load.history) if r.scope in window.scopes and r.as_of == window.manifest.as_of
    ]
    sequence = 1 + max((r.sequence for r in known if isinstance(r.sequence, int)), default=0)
    tallies = load.tallies(rows)
    comparison = load.compare(
        window,
        rows,
        tallies,
        name=_name(load, window, sequence),
        sequence=sequence,
        recorded_at=datetime.now(UTC),
    )
    for scope in () if accept else window.scopes:
        refusal = load.verdict(comparison, scope, tallies[scope]).refusal if scope in tallies else "it has no row"
        if refusal:
            release(comparison)
            raise ParkedError(
                f"the guard refuses it: {refusal}", where=f"{load.table} {scope}", remedy="--accept lets it in."
            )
    if not comparison.differs:
        release(comparison)
        return Commit()
    return load.history.append_snapshot(comparison)


def _changes(load: EntityLoad, window: Window, rows: DataFrame) -> Commit:
    policy, manifest = load.history.policy, window.manifest
    log = load.history.log()
    now = load.changes(window, rows).select(*log.columns)
    before = log.where(F.col("manifest") == manifest.id).where(in_scopes(window.scopes))
    before = horizon.ahead(load.history, before)  # what lies behind the horizon is not said again
    said = [*policy.identity, *policy.payload, "op", "valid_from", "sequence"]
    withdrawn, new = before.select(said).exceptAll(now.select(said)), now.select(said).exceptAll(before.select(said))
    if not withdrawn.where(F.col("op") == DELETE).isEmpty():
        raise ContractError(
            "a delete of this extract would have to be withdrawn, and a retract without content is for ever",
            where=f"{load.table}, manifest {manifest.id}",
            remedy="Have the source send the key again with a later time.",
        )
    stated = withdrawn.withColumn("op", F.lit(RETRACT)).unionByName(new).persist()
    try:
        if stated.isEmpty():
            return Commit()
        values = {
            "recorded_at": F.lit(datetime.now(UTC)), "manifest": F.lit(manifest.id),
            "contract_version": F.lit(load.contract.version),
        }  # fmt: skip
        rows = stated.select(*said, *(values[c].alias(c) for c in CHANGE_COLUMNS if c in values))
        return load.history.append(rows, txn=f"{manifest.id}#{load.lake.run_id}")
    finally:
        stated.unpersist()


def _name(load: EntityLoad, window: Window, sequence: int) -> str:
    """The name of the window's own commit when the log does not have it yet, so that it counts as loaded."""
    loaded = load.history.loaded()
    is_new = window.transaction not in loaded and window.manifest.id not in loaded
    return window.transaction if is_new else f"{window.transaction}#{sequence}"


def _days(load: EntityLoad) -> list[str]:
    return sorted({m.as_of.date().isoformat() for feed in load.contract.feeds for m in load.manifests(feed)})[-10:]
