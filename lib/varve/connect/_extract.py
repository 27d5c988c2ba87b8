"""What a source holds that is new, into raw. A file that cannot be read is parked; the next ones come in."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby

from varve import raw
from varve.config import Dataset
from varve.connect._connector import Connector, Take
from varve.ops.ledger import Ledger
from varve.ops.task import Task
from varve.raw import Publisher, RawDataset
from varve.storage import Leases


def extract(
    dataset: Dataset, connector: Connector, extracts: RawDataset, ledger: Ledger, leases: Leases, *, expected: bool
) -> None:
    """Land what is new of one dataset, each scope as a task of the ledger.

    expected: a person named the source, so that a folder that is not there is an error.
    Whether anything may be new is asked before the lease, and again under it."""
    table = f"raw.{dataset.table}"
    with ExitStack() as held:
        try:
            publisher = Publisher(extracts, extracts.catalog())
            plan = connector.plan(dataset, publisher, expected=expected)
            if plan.takes:
                held.enter_context(leases.held(table))
                publisher = held.enter_context(raw.publishing(extracts))
                plan = connector.plan(dataset, publisher, expected=expected)
        except Exception as error:
            with ledger.task("extract", table, keep_going=True):
                raise error
            return
        for scope, takes in groupby(sorted(plan.takes, key=lambda take: take.scope), key=lambda take: take.scope):
            with ledger.task("extract", table, scope, keep_going=True) as task:
                _land(task, list(takes), plan.notes)
    if not plan.takes:
        with ledger.task("extract", table) as task:
            task.skip("; ".join(plan.notes) or "nothing new")
    _remind(ledger, table, publisher)


def _land(task: Task, takes: Sequence[Take], notes: list[str]) -> None:
    """Land the takes of one scope in their order; a parked one does not stop the next.

    notes: what planning and landing say; the first task says it."""
    landed = [manifest for take in takes if (manifest := take.land()) is not None]
    for manifest in landed:
        task.input(manifest.id)
        task.read(manifest.rows + manifest.rejected)
        task.wrote(None, rejected=manifest.rejected)
        size = sum(file.bytes for file in manifest.files)
        task.row = replace(task.row, rows_out=task.row.rows_out + manifest.rows, bytes=task.row.bytes + size)
    if not landed:
        task.skip("; ".join(notes) or "nothing new")
    elif notes:
        task.note("; ".join(notes))
    notes.clear()
    if parked := [m for m in landed if m.status == "parked"]:
        task.parked(raw.parked_error(parked))


def _remind(ledger: Ledger, table: str, publisher: Publisher) -> None:
    """What earlier runs parked stays on the table until it is delivered again or discarded."""
    bronze = table.replace("raw.", "bronze.", 1)
    if not any(one.status == "parked" for one in publisher.known):
        return
    for one in raw.waiting(publisher.dataset.catalog()):
        decided = ledger.decisions.discarded(bronze, one.scope, one.id)
        if decided is None and one.number in publisher.known.published:
            with ledger.task("extract", table, one.scope, keep_going=True) as task:
                task.parked(raw.parked_error([one]))
