"""What the next window of an entity would do, for a person; nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pyspark.sql import Row
from rich.table import Table

from varve.history_table.snapshots import release
from varve.model.scope import Scope
from varve.silver.guard import Tally
from varve.silver.load import EntityLoad
from varve.silver.window import Window

COLUMNS = ("scope", "rows", "rejected", "opened", "changed", "deleted", "guard")
SAMPLES = 5  # keys that a plan names


@dataclass(frozen=True, slots=True)
class _Preview:
    """lines: the cells of COLUMNS, one per scope of a snapshot; samples: keys that would change, with what happens."""

    lines: tuple[tuple[str, ...], ...]
    samples: tuple[str, ...]


def plan_of(load: EntityLoad, wanted: frozenset[Scope]) -> Table | str:
    """The oldest window that waits: what it would open, change and delete in every scope, with sample keys."""
    windows = load.windows(wanted)
    if not windows:
        return f"{load.table}: nothing new"
    window, more = windows[0], len(windows) - 1
    preview = _snapshot(load, window) if window.asserts_absence else _changes(load, window)
    table = Table(
        *COLUMNS,
        title=f"{load.table}: {window.manifest.mode} of {window.manifest.as_of:%Y-%m-%d %H:%M}, "
        f"{more} more wait after it",
        caption="\n".join((f"manifest {window.manifest.id}", *preview.samples)),
        title_justify="left", caption_justify="left",
    )  # fmt: skip
    for line in preview.lines:
        table.add_row(*line)
    return table


def _snapshot(load: EntityLoad, window: Window) -> _Preview:
    if (final := load.final_verdict(window)) is not None:
        refused = ((str(scope), *["-"] * 5, f"parks it: {final.refusal}") for scope in window.scopes)
        return _Preview(tuple(refused), ())
    rows = load.conformed(window).persist()
    tallies = load.tallies(rows, window)
    comparison = load.compare(window, rows, tallies)
    lines = []
    for scope in window.scopes:
        tally, counts = tallies.get(scope, Tally()), comparison.counts[scope]
        refusal = load.verdict(comparison, scope, tally).refusal
        numbers = (tally.rows, tally.rejected, counts.inserted, counts.changed, counts.deleted)
        lines.append((str(scope), *map(str, numbers), f"parks it: {refusal}" if refusal else "lets it in"))
    samples: tuple[str, ...] = ()
    if comparison.changes is not None:
        identity = load.history.policy.identity
        found = comparison.changes.filter("_kind <> 'unchanged'").orderBy("_kind", *identity).take(SAMPLES)
        samples = tuple(f"{row['_kind']}: {_key(row, identity)}" for row in found)
    release(comparison)
    rows.unpersist()
    return _Preview(tuple(lines), samples)


def _changes(load: EntityLoad, window: Window) -> _Preview:
    rows = load.conformed(window).persist()
    tallies = load.tallies(rows)
    total, bad = (sum(getattr(tally, name) for tally in tallies.values()) for name in ("rows", "rejected"))
    samples: Iterable[str] = ()
    if load.run.store.exists(load.history.layer, load.history.log_table):
        plan = load.history.plan(load.changes(rows))
        numbers = (str(plan.opened), str(plan.closed + plan.rewritten), str(plan.removed))
        identity = load.history.policy.identity
        oldest = () if plan.oldest is None else (f"the oldest row that changes begins at {plan.oldest}",)
        samples = (*oldest, *(f"from {row['valid_from']}: {_key(row, identity)}" for row in plan.samples[:SAMPLES]))
    else:
        numbers = (f"up to {total - bad}", "0", "0")
    rows.unpersist()
    scopes = ", ".join(map(str, window.scopes))
    return _Preview(((scopes, str(total), str(bad), *numbers, "changes are not guarded"),), tuple(samples))


def _key(row: Row, identity: Sequence[str]) -> str:
    return ", ".join(f"{column} = {row[column]}" for column in identity)
