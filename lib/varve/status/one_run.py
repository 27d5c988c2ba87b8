"""What one run did: to which table and scope, with which extracts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from varve.config.problems import did_you_mean
from varve.model.errors import UsageError
from varve.ops import tables
from varve.ops.journal import Row
from varve.raw import Published
from varve.raw.batch import Load, batches
from varve.run.run import Run
from varve.status.asked import Asked, asked
from varve.status.facts import Done, Extract, OneRun
from varve.status.looking import LookedAt
from varve.status.past import open_runs, past, run_of

_Known = Mapping[str, Published]


def one_run(run: Run, run_id: str, *, table: str | None = None) -> OneRun:
    """What a run did; table: only to this one, see `asked`. UsageError for a run that the ledger does not know.

    Of a run that was killed, or is at work, also what its commits hold and the ledger does not list."""
    wanted = asked(run.config, table)
    seen = LookedAt(run)
    running = frozenset(lease.holder.run_id for lease in seen.leases.holders())
    rows = past(seen, running, run_id=run_id).rows
    if not rows:
        known = {row["run_id"] for row in tables.rows(seen.root, tables.RUNS, columns=["DISTINCT run_id"])}
        raise UsageError(
            f"the ledger knows no run {run_id}", where="--run",
            remedy=did_you_mean(run_id, {*known, *open_runs(seen)}) or "./spark-submit.sh status lists the last runs.",
        )  # fmt: skip
    found = run_of(rows, is_alive=run_id in running)
    chosen = [row for row in rows if wanted.is_all or wanted.has(row.table_name)]
    unreported = list(_unreported(seen, run_id, wanted, chosen)) if found.end in ("killed", "running") else []
    extracts = _extracts(seen, wanted, {row.table_name or "" for row in chosen} | {table for table, *_ in unreported})
    committed = (_committed(table, held, versions, extracts) for table, held, versions in unreported)
    return OneRun(found, (*(_done(row, extracts) for row in chosen), *committed))


def _unreported(
    run: Run, run_id: str, wanted: Asked, rows: Sequence[Row]
) -> Iterator[tuple[str, Sequence[Load], Sequence[int]]]:  # fmt: skip
    """(table, extracts, versions) of the commits of a run that its rows do not list."""
    stored = [("bronze", one.table, one.table) for one in wanted.datasets]
    stored += [("silver", one, f"{one}_changes") for one in wanted.entities]
    for layer, name, place in stored:
        listed = {extract for row in rows if row.table_name == f"{layer}.{name}" for extract in row.manifests}
        noted = batches(run.store, layer, place)
        commits = [(said.version, held) for said, held in noted if said.note.get("run") == run_id]
        if unreported := [load for _, held in commits for load in held if load.manifest not in listed]:
            yield f"{layer}.{name}", unreported, [version for version, _ in commits]


def _extracts(run: Run, wanted: Asked, tables: Collection[str]) -> _Known:
    """The extracts that these tables may have been loaded from, by id."""
    bronze = {table.partition(".")[2] for table in tables if table.startswith(("raw.", "bronze."))}
    for entity in wanted.entities:
        if f"silver.{entity}" in tables:
            bronze |= {feed.bronze for feed in run.config.silver_contract(entity).feeds}
    datasets = [one for one in wanted.datasets if one.table in bronze]
    return {one.id: one for dataset in datasets for one in run.raw(dataset.source, dataset.name).catalog()}


def _done(row: Row, known: _Known) -> Done:
    return Done(
        task=row.task, step=row.step, table=row.table_name, scope=row.scope,
        end="killed" if row.reason == "killed" else row.status,
        extracts=tuple(_extract(one, known) for one in dict.fromkeys(row.manifests)),
        rows_in=row.rows_in, rows_out=row.rows_out, rows_rejected=row.rows_rejected,
        version_before=row.version_before, version_after=row.version_after, seconds=row.seconds,
        error=row.error or row.reason, remedy=row.remedy,
    )  # fmt: skip


def _committed(table: str, held: Sequence[Load], versions: Sequence[int], known: _Known) -> Done:
    layer = table.partition(".")[0]
    extracts = tuple(_extract(one, known) for one in dict.fromkeys(load.manifest for load in held))
    before = versions[0] - 1 if versions[0] else None
    return Done(layer, layer, table, None, "committed", extracts, version_before=before, version_after=versions[-1])


def _extract(extract: str, known: _Known) -> Extract:
    one = known.get(extract)
    return Extract(extract) if one is None else Extract(extract, one.origin.path, one.declared)
