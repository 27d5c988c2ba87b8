"""What the next window of an entity would do, for a person; nothing is written."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from varve.scope import Scope
from varve.silver.guard import Tally
from varve.silver.load import EntityLoad, Window
from varve.snapshots import release

COLUMNS = ("scope", "rows", "rejected", "opened", "changed", "deleted", "guard")


def plan_of(load: EntityLoad, wanted: frozenset[Scope]) -> Table:
    """A table with the oldest window that waits: what it would open, change and delete in every scope."""
    windows = load.windows(wanted)
    if not windows:
        return Table(title=f"{load.table}: nothing new")
    window, more = windows[0], len(windows) - 1
    title = (
        f"{load.table}: {window.manifest.mode} of {window.manifest.as_of:%Y-%m-%d %H:%M}, {more} more wait behind it"
    )
    table = Table(*COLUMNS, title=title, caption=f"manifest {window.manifest.id}")
    for line in _snapshot(load, window) if window.asserts_absence else _changes(load, window):
        table.add_row(*line)
    return table


def _snapshot(load: EntityLoad, window: Window) -> Iterator[tuple[str, ...]]:
    if (hidden := load.hidden(window)) is not None:
        yield from ((str(scope), *["-"] * 5, f"parks it: {hidden.refusal}") for scope in window.scopes)
        return
    rows = load.conformed(window).persist()
    tallies = load.tallies(rows)
    comparison = load.compare(window, rows, tallies)
    for scope in window.scopes:
        tally, counts = tallies.get(scope, Tally()), comparison.counts[scope]
        refusal = load.verdict(comparison, scope, tally).refusal
        numbers = (tally.rows, tally.rejected, counts.inserted, counts.changed, counts.deleted)
        yield (str(scope), *map(str, numbers), f"parks it: {refusal}" if refusal else "lets it in")
    release(comparison)
    rows.unpersist()


def _changes(load: EntityLoad, window: Window) -> Iterator[tuple[str, ...]]:
    rows = load.conformed(window).persist()
    tallies = load.tallies(rows)
    total, bad = (sum(getattr(tally, name) for tally in tallies.values()) for name in ("rows", "rejected"))
    if load.lake.store.exists(load.history.layer, load.history.log_table):
        plan = load.history.plan(load.changes(window, rows))
        numbers = (str(plan.opened), str(plan.closed + plan.rewritten), str(plan.removed))
    else:
        numbers = (f"up to {total - bad}", "0", "0")
    yield (", ".join(map(str, window.scopes)), str(total), str(bad), *numbers, "changes are not guarded")
    rows.unpersist()
