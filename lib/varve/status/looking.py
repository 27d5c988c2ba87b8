"""Looks at a lake: no session, and nothing is written, so that whoever may read the lake may look."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Never

from varve import raw
from varve.bronze.load import BronzeLoad
from varve.bronze.lost import lost_error
from varve.config import Dataset
from varve.model.errors import DefectError, StorageError, VarveError
from varve.ops.ledger import RUN
from varve.raw import Catalog, Manifest
from varve.run.run import Run
from varve.silver import EntityLoad
from varve.status.asked import Asked, asked
from varve.status.facts import Failure, Freshness, Held, Parked, Status, Waiting
from varve.status.past import Past, failures, first_parked, past
from varve.storage import Files, Lease, ReadOnly
from varve.storage.delta import Store


class LookedAt(Run):
    """The lake of another run, as whoever only looks has it."""

    def __init__(self, run: Run) -> None:
        super().__init__(run.config, run.root, job=run.job, run_id=run.run_id)

    @cached_property
    def store(self) -> Store:
        return Store(_no_session, str(self.root))

    @cached_property
    def files(self) -> Files:
        return ReadOnly(super().files)


def look(run: Run, *, now: datetime, table: str | None = None) -> Status:
    """How the lake is. now: the moment (UTC). table: only this one, see `asked`. UsageError when there is none."""
    return _Look(LookedAt(run), asked(run.config, table), now).status()


def freshness(dataset: Dataset, catalog: Catalog, *, now: datetime, asked_at: datetime | None) -> Freshness:
    """How fresh a dataset is. asked_at: when extract looked for it last."""
    expected, last = dataset.expected, max(catalog, key=lambda one: one.number, default=None)
    known = Freshness(dataset.source, dataset.name, dataset.table, len(catalog.published), asked_at=asked_at)
    if last is not None:
        declared = last.declared or f"{last.as_of:%Y-%m-%d %H:%M}"
        known = replace(known, landed_at=last.landed_at, declared=declared, file=last.origin.path)
    if expected is None:
        return known
    late = expected.is_late(known.landed_at, now)
    return replace(known, expected=str(expected), due=expected.last(now), late=late)


class _Look:
    """One look: what it has found so far. waits: table -> scope -> the extracts that wait there."""

    def __init__(self, run: Run, wanted: Asked, now: datetime) -> None:
        self.run, self.asked, self.now = run, wanted, now
        self.waiting: list[Waiting] = []
        self.parked: list[Parked] = []
        self.unreadable: list[Failure] = []
        self.waits: dict[str, dict[str, list[Manifest]]] = defaultdict(lambda: defaultdict(list))
        self.leases: list[Lease] = []
        self.past = Past((), frozenset())
        with self._reading("leases"):
            self.leases = run.leases.holders()
        with self._reading("ops.runs"):
            self.past = past(run, frozenset(lease.holder.run_id for lease in self.leases))

    def status(self) -> Status:
        """All of it."""
        datasets = tuple(self._dataset(dataset) for dataset in self.asked.datasets)
        for entity in self.asked.entities:
            with self._reading(f"silver.{entity}"):
                self._entity(entity)
        self.parked += self._others()
        return Status(
            at=self.now,
            lake=str(self.run.root),
            datasets=datasets,
            waiting=tuple(self.waiting),
            parked=tuple(sorted(self.parked, key=lambda one: (one.since is None, one.since or self.now))),
            failures=(*self.unreadable, *self._failures()),
            held=tuple(self._held()),
            runs=tuple(self.past.runs()),
        )

    # --- raw and bronze ---------------------------------------------------------------------------------------

    def _dataset(self, dataset: Dataset) -> Freshness:
        """How fresh a dataset is; what waits for its bronze table is noted."""
        asked_last = self.past.last("extract", f"raw.{dataset.table}")
        asked_at = asked_last.ended_at if asked_last and asked_last.status != "failed" else None
        with self._reading(f"raw.{dataset.table}"):
            catalog = self.run.raw(dataset.source, dataset.name).catalog()
            with self._reading(f"bronze.{dataset.table}"):
                self._bronze(BronzeLoad(self.run, dataset), catalog)
            return freshness(dataset, catalog, now=self.now, asked_at=asked_at)
        return freshness(dataset, Catalog({}, 0), now=self.now, asked_at=asked_at)

    def _bronze(self, load: BronzeLoad, catalog: Catalog) -> None:
        table = f"bronze.{load.table}"
        pending = load.pending(load.loaded())
        for manifest in pending.free:
            self.waits[table][str(manifest.scope)].append(manifest)
        for scope, extracts in self.waits[table].items():
            self._waits(table, scope, extracts)
        for one in raw.waiting(catalog):
            if self.run.ledger.decisions.discarded(table, one.scope, one.id) is None:
                error = raw.parked_error([one])
                self.parked.append(Parked(table, str(one.scope), one.id, one.landed_at, error.what, error.remedy))
        for of, (manifest, behind) in pending.parked.items():
            if manifest.status != "parked":  # else counted above
                error = load.refusal(manifest)
                since = self._parked_since(table, str(of), manifest.id) or manifest.landed_at
                why = _text(error).removeprefix(f"{error.where}: ")
                self.parked.append(Parked(table, str(of), manifest.id, since, why, error.remedy))
            if behind:
                self.waiting.append(Waiting(table, str(of), behind, manifest.landed_at, stopped=True))
        for lost_of, error in load.lost(pending.lost):
            scope_of_lost = None if lost_of is None else str(lost_of)
            self.parked.append(Parked(table, scope_of_lost, None, None, error.what, error.remedy))

    # --- silver -----------------------------------------------------------------------------------------------

    def _entity(self, entity: str) -> None:
        """What waits for an entity, and what of it was parked by the run that met it last."""
        load = EntityLoad(self.run, self.run.config.silver_contract(entity), lists={}, key=_no_key)
        waits = self.waits[load.table]
        for window in load.windows():
            for scope in window.scopes:
                waits[str(scope)].append(window.manifest)
        for dataset, number in load.lost:
            error = lost_error(dataset, number, load.table)
            self.parked.append(Parked(load.table, None, None, None, error.what, error.remedy))
        for name, extracts in waits.items():
            row = self.past.last("silver", load.table, name)
            refused = json.loads(row.guard or "{}").get("manifest") if row and row.status == "parked" else None
            parked = next((one for one in extracts if one.id == refused), None)
            if (
                row is None
                or parked is None
                or self.run.ledger.decisions.accepted(load.table, name, parked.id) is not None
            ):
                self._waits(load.table, name, extracts)
                continue
            since = self._parked_since(load.table, name, parked.id) or row.started_at
            self.parked.append(Parked(load.table, name, parked.id, since, row.reason or "", row.remedy))
            if behind := [one for one in extracts if one is not parked]:
                self._waits(load.table, name, behind, stopped=True)

    # --- what the ledger says --------------------------------------------------------------------------------

    def _others(self) -> Iterator[Parked]:
        """What is parked and is no extract: contradictions, what an audit found."""
        for row in self.past.open_parked():
            if row.step not in ("extract", "bronze", "silver") and self.asked.has(row.table_name):
                table, why = row.table_name or row.task, row.reason or row.error or ""
                yield Parked(table, row.scope, None, row.started_at, why, row.remedy)

    def _failures(self) -> list[Failure]:
        scopes = {table: frozenset(by_scope) for table, by_scope in self.waits.items()}
        of_a_run = [row for row in self.past.open_failures(scopes) if row.table_name is None and self.asked.is_all]
        of_tables = [row for row in self.past.open_failures(scopes) if self.asked.has(row.table_name)]
        return failures([*of_a_run, *of_tables])

    def _held(self) -> Iterator[Held]:
        """Who works on what."""
        for lease in self.leases:
            is_run = lease.name == RUN.format(lease.holder.run_id)
            if self.asked.has(lease.name) or (self.asked.is_all and is_run):
                who, name = lease.holder, "run" if is_run else lease.name
                yield Held(name, who.job, who.run_id, who.host, who.pid, lease.since)

    def _waits(self, table: str, scope: str, extracts: Sequence[Manifest], *, stopped: bool = False) -> None:
        since = min(one.landed_at for one in extracts)
        self.waiting.append(Waiting(table, scope, len(extracts), since, stopped))

    def _parked_since(self, table: str, scope: str, extract: str) -> datetime | None:
        return self._first_parked.get((table, scope, extract))

    @cached_property
    def _first_parked(self) -> dict[tuple[str, str | None, str], datetime]:
        return first_parked(self.run)

    @contextmanager
    def _reading(self, table: str) -> Iterator[None]:
        """What cannot be read in the block is noted: the rest can be shown all the same."""
        try:
            yield
        except VarveError as error:
            self.unreadable.append(Failure("unreadable", (table,), _text(error), error.remedy))


def _text(error: VarveError) -> str:
    return str(error).removesuffix(f". {error.remedy}")


def _no_session() -> Never:
    raise StorageError(
        "what the table holds can only be read from its rows: its log was cleaned, and the index is lost",
        remedy="The next run that loads it reads them, and rebuilds the index.",
    )


def _no_key() -> Never:
    raise DefectError("who only looks makes no pseudonym")
