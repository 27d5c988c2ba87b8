"""Say again what extracts say, of a day, a scope or an entity: after a corrected delivery, or with corrected rules.

A snapshot is said again at its own moment with a higher sequence, so that it replaces what was said then. Changes are
compared with what stands in the log of their manifest: what is no longer said is retracted, what is new is added, what
was retracted before and is said again is restored. All are appends: the log keeps what was believed before, with the
time at which we learned better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from rich.console import Console

from varve import history
from varve.bronze.load import bronze_loaded
from varve.history_table import horizon, snapshot_log
from varve.history_table.snapshots import release
from varve.model.errors import ContractError, ParkedError, UsageError
from varve.model.scope import Scope, in_scopes
from varve.raw import Manifest
from varve.raw.index import Loaded
from varve.rules import quality
from varve.silver.conform import SEQUENCE, VALID_FROM
from varve.silver.load import EntityLoad
from varve.silver.window import Window, scopes_of
from varve.storage.commits import Commit


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Extracts of one scope that are not said again, and why."""

    scope: Scope
    reason: str
    manifests: tuple[Manifest, ...]

    def __str__(self) -> str:
        days = sorted({manifest.as_of.date().isoformat() for manifest in self.manifests})
        return f"{self.scope} of {days[0]}{f' to {days[-1]}' if days[1:] else ''} is not said again: {self.reason}"


def windows_to_restate(
    load: EntityLoad, day: date | None, wanted: frozenset[Scope]
) -> tuple[list[Window], list[LeftOut]]:
    """The extracts to say again, one scope each, in the order of time; and those that are left out.

    Of snapshots the last one of each moment, of changes all. Only what the log has is said again: what was discarded is
    no part of it, what waits needs a decision first. Who names a day decides for the last snapshot of a moment of which
    the log has another one.
    day: only the extracts of that day; wanted: only these scopes, empty = all. Raises UsageError if there is none.
    """
    ledger = load.run.ledger
    loaded = load.loaded()
    known = {(record.scope, record.as_of) for record in snapshot_log.accepted(load.history)}
    found: dict[tuple[str, Scope, datetime | str], Window] = {}
    left: dict[tuple[Scope, str], list[Manifest]] = {}
    for window in _landed(load, day):
        manifest, final = window.manifest, load.final_verdict(window)
        for scope in window.all_scopes:
            if wanted and scope not in wanted:
                continue
            one = window.only([scope])
            decides = day is not None and window.asserts_absence and (scope, manifest.as_of) in known
            if (why := ledger.decisions.discarded(load.table, scope, manifest.id)) is not None:
                reason = f"it was discarded: {why}"
            elif final is not None:
                reason = str(final.refusal)
            elif _waits(loaded, one) and not decides:
                plan = f"./spark-submit.sh silver --table {load.contract.table} --scope {scope} --plan"
                reason = f"it is not in the history yet; {plan} shows what it waits for"
            else:
                moment = manifest.as_of if window.asserts_absence else manifest.id
                found[window.feed.bronze, scope, moment] = one
                continue
            left.setdefault((scope, reason), []).append(manifest)
    left_out = [LeftOut(scope, reason, tuple(manifests)) for (scope, reason), manifests in left.items()]
    if not found:
        raise _nothing(load, day, wanted, left_out)
    return sorted(found.values(), key=lambda window: (window.manifest.order, window.scopes)), left_out


def restate(load: EntityLoad, window: Window, *, reason: str, accept: bool = False) -> Commit:
    """Say a window again; version None when it says what the log says already.

    reason: what `ops.decisions` keeps when the window comes in by a person's decision: it waited, or accept is given
    and the guard refuses it. Raises ParkedError when the guard refuses a snapshot that nobody has accepted.
    """
    rows = load.conformed(window).where(in_scopes(window.scopes)).persist()
    try:
        return _snapshot(load, window, rows, reason, accept) if window.asserts_absence else _changes(load, window, rows)
    finally:
        rows.unpersist()


def _snapshot(load: EntityLoad, window: Window, rows: DataFrame, reason: str, accept: bool) -> Commit:
    manifest, ledger = window.manifest, load.run.ledger
    if load.history.policy.domain == "sequence":
        raise ContractError(
            "a snapshot ordered by the source's sequence cannot be said again",
            where=f"{load.table}, manifest {manifest.id}", found="domain: sequence", expected="domain: time",
            remedy="Have the source send what is wrong again, as changes with higher numbers.",
        )  # fmt: skip
    known = [
        r
        for r in snapshot_log.accepted(load.history, since=manifest.as_of)
        if r.scope in window.scopes and r.as_of == manifest.as_of
    ]
    sequence = 1 + max((r.sequence for r in known if isinstance(r.sequence, int)), default=0)
    is_new = _waits(load.loaded(), window)
    tallies = load.tallies(rows, window)
    comparison = load.compare(
        window,
        rows,
        tallies,
        name=window.name if is_new else f"{window.name}#{sequence}",
        sequence=sequence,
        recorded_at=datetime.now(UTC),
    )
    decided = []
    for scope in window.scopes:
        refusal = load.verdict(comparison, scope, tallies[scope]).refusal if scope in tallies else "it has no rows"
        if (not refusal and not is_new) or ledger.decisions.accepted(load.table, scope, manifest.id) is not None:
            continue
        if refusal and not accept:
            release(comparison)
            raise _refused(load, window, scope, refusal)
        decided.append(scope)
    if not comparison.differs:
        release(comparison)
        return Commit()
    for scope in decided:
        ledger.decisions.decide(load.table, scope, manifest.id, verdict="accept", reason=reason)
    return load.append_snapshot(window if is_new else None, rows, tallies, comparison)


def _changes(load: EntityLoad, window: Window, rows: DataFrame) -> Commit:
    """What a row said that is rejected now stands: it says nothing else."""
    policy, manifest, log = load.history.policy, window.manifest, load.history.log()
    before = log.where(F.col("manifest") == manifest.id).where(in_scopes(window.scopes))
    before = horizon.ahead(load.history, before).persist()  # what is before the horizon is not said again
    said = history.standing(load.changes(rows).select(*log.columns), policy).persist()
    by = [*policy.identity, *policy.payload, "op", *policy.order]
    stands, gone = history.standing(before, policy), history.standing(before, policy, gone=True)
    new, withdrawn = _among(said, stands, by, keep=False), _among(stands, said, by, keep=False)
    unclear = quality.rejected(rows).withColumnsRenamed({VALID_FROM: "valid_from", SEQUENCE: "sequence"})
    withdrawn = _among(withdrawn, unclear, [*policy.identity, *policy.order], keep=False)
    again, added = _among(new, gone, by), _among(new, gone, by, keep=False)
    values = {
        "recorded_at": F.lit(datetime.now(UTC)), "manifest": F.lit(manifest.id),
        "contract_version": F.lit(load.contract.version),
    }  # fmt: skip
    stated = (
        withdrawn.withColumn("_corrects", history.retraction(policy))
        .unionByName(again.withColumn("_corrects", history.restoration()))
        .unionByName(added.withColumn("_corrects", F.lit(None).cast("string")))
        .persist()
    )
    try:
        if stated.isEmpty():
            return Commit()
        corrected = stated.withColumn("op", F.coalesce("_corrects", "op")).drop("_corrects").withColumns(values)
        return load.append(corrected.select(*log.columns), rows, load.tallies(rows))
    finally:
        for frame in (before, said, stated):
            frame.unpersist()


def _among(rows: DataFrame, others: DataFrame, by: Sequence[str], *, keep: bool = True) -> DataFrame:
    """The rows that others equal in some columns, null being a value; keep=False: those that none equals."""
    same = reduce(Column.__and__, (F.col(f"one.`{c}`").eqNullSafe(F.col(f"other.`{c}`")) for c in by))
    return rows.alias("one").join(others.select(*by).alias("other"), same, "left_semi" if keep else "left_anti")


def _landed(load: EntityLoad, day: date | None) -> list[Window]:
    """Every extract that bronze has, whole, each dataset's in the order of time."""
    found = []
    for feed, dataset in load.datasets():
        bronze = bronze_loaded(load.run, dataset)
        for one in dataset.catalog().in_order():
            is_meant = day is None or one.as_of.date() == day
            if is_meant and bronze.has(dataset.table, one.number):
                manifest = dataset.manifest(one.number)
                found.append(Window(feed, manifest, scopes_of(manifest)))
    return found


def _waits(loaded: Loaded, window: Window) -> bool:
    """Whether the log does not have the window yet. loaded: what it has."""
    return not any(loaded.has(window.manifest.table, window.manifest.number, scope) for scope in window.scopes)


def _refused(load: EntityLoad, window: Window, scope: Scope, refusal: str) -> ParkedError:
    day = f"{window.manifest.as_of:%Y-%m-%d}"
    again = f"./spark-submit.sh restate --table {load.contract.table} --day {day} --scope {scope} --accept"
    return ParkedError(
        f"the snapshot of {window.manifest.as_of:%Y-%m-%d %H:%M} is not said again: {refusal}",
        where=f"{load.table} {scope}, manifest {window.manifest.id}", remedy=f'If it is right: {again} --reason "why".',
    )  # fmt: skip


def _nothing(load: EntityLoad, day: date | None, wanted: frozenset[Scope], left: Sequence[LeftOut]) -> UsageError:
    asked = [str(scope) for scope in sorted(wanted)] + ([] if day is None else [day.isoformat()])
    others = {manifest.id for one in left for manifest in one.manifests}
    days = sorted({w.manifest.as_of.date().isoformat() for w in _landed(load, None) if w.manifest.id not in others})
    command = f"./spark-submit.sh {{}} --table {load.contract.table}"
    return UsageError(
        "the history has no extract of that to say again", where=load.table,
        found="; ".join(map(str, left)) or " ".join(asked) or "nothing is loaded",
        expected=f"one of the days {', '.join(days[-10:])}" if days else None,
        remedy=f'{command.format("restate")} --day {days[-1]} --reason "why"' if days else command.format("silver"),
    )  # fmt: skip


def say_again(load: EntityLoad, *, day: date | None, scopes: frozenset[Scope], reason: str, accept: bool) -> None:
    """Restate the extracts of a day, or all that bronze has, each as a task of the ledger.

    scopes: only these, empty = all; accept: also what the guard refuses, for which a day must be named."""
    if accept and day is None:
        raise UsageError(
            "what the guard refuses is let in day by day", where="--accept", found="no --day",
            expected="--day YYYY-MM-DD", remedy="Without --accept the run names the days that it refuses.",
        )  # fmt: skip
    windows, left_out = windows_to_restate(load, day, scopes)
    for left in left_out:
        with load.run.ledger.task("restate", load.table, left.scope) as task:
            task.input(*(manifest.id for manifest in left.manifests))
            task.skip(f"{left}; {reason}")
        Console(stderr=True, highlight=False).print(f"{load.table} {left}", soft_wrap=True)
    for window in windows:
        with load.run.ledger.task("restate", load.table, window.scopes[0], keep_going=True) as task:
            task.input(window.manifest.id)
            task.note(reason)
            commit = restate(load, window, reason=reason, accept=accept)
            task.wrote(commit)
            if commit.version is None:
                task.skip(f"the log says so already; {reason}")
