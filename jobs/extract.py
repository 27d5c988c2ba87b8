"""Extract: what files and databases hold that is new, into raw, as received. A file that cannot be read is parked."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from varve import raw
from varve.config import Dataset
from varve.connect import Take, connector_of
from varve.model.errors import UsageError
from varve.ops.ledger import Task
from varve.raw import Publisher
from varve.run.cli import Parser, launch
from varve.run.run import Run


def parser() -> Parser:
    """The options of the job."""
    parser = Parser(description=__doc__)
    parser.add_argument("--source", action="append", default=[], help="only this source (may be repeated)")
    parser.add_argument("--dataset", action="append", default=[], help="only this dataset (may be repeated)")
    parser.add_argument("--root", type=Path, metavar="DIR", help="the folder to read, instead of the one configured")
    return parser


def run(run: Run, args: Namespace) -> None:
    """Land every dataset that was asked for; one that fails does not stop the others."""
    if unknown := sorted(set(args.source) - set(run.config.sources)):
        expected = ", ".join(sorted(run.config.sources))
        raise UsageError(f"no source is called {unknown[0]}", where="--source", expected=expected)
    if args.root is not None and len(args.source) != 1:
        raise UsageError("--root needs one --source", where="--root", found=f"{len(args.source)} sources")
    for dataset in run.config.datasets():
        if (not args.source or dataset.source in args.source) and (not args.dataset or dataset.name in args.dataset):
            if args.root is not None:
                dataset = replace(dataset, system=dataset.system.moved(str(args.root.absolute())))
            _extract(run, dataset, expected=bool(args.source))


def _extract(run: Run, dataset: Dataset, *, expected: bool) -> None:
    """Land what is new of one dataset. Whether anything may be new is asked before the lease, and again under it."""
    table, connector = f"raw.{dataset.table}", connector_of(run.config, dataset.source)
    extracts = run.raw(dataset.source, dataset.name)
    with ExitStack() as held:
        try:
            publisher = Publisher(extracts, extracts.catalog())
            plan = connector.plan(dataset, publisher, expected=expected)
            if plan.takes:
                held.enter_context(run.lease(table))
                publisher = held.enter_context(raw.publishing(extracts))
                plan = connector.plan(dataset, publisher, expected=expected)
        except Exception as error:
            with run.ledger.task("extract", table, keep_going=True):
                raise error
            return
        for scope, takes in groupby(sorted(plan.takes, key=lambda take: take.scope), key=lambda take: take.scope):
            with run.ledger.task("extract", table, scope, keep_going=True) as task:
                _land(task, list(takes))
    if not plan.takes:
        with run.ledger.task("extract", table) as task:
            task.skip("; ".join(plan.notes) or "nothing new")
    _remind(run, table, publisher)


def _land(task: Task, takes: Sequence[Take]) -> None:
    """Land the takes of one scope in their order; a parked one does not stop the next."""
    landed = [manifest for take in takes if (manifest := take.land()) is not None]
    for manifest in landed:
        task.input(manifest.id)
        task.read(manifest.rows + manifest.rejected)
        task.wrote(None, rejected=manifest.rejected)
        size = sum(file.bytes for file in manifest.files)
        task.row = replace(task.row, rows_out=task.row.rows_out + manifest.rows, bytes=task.row.bytes + size)
    if not landed:
        task.skip()
    if parked := [m for m in landed if m.status == "parked"]:
        task.parked(raw.parked_error(parked))


def _remind(run: Run, table: str, publisher: Publisher) -> None:
    """What earlier runs parked stays on the table until it is delivered again or discarded."""
    bronze = table.replace("raw.", "bronze.", 1)
    if not any(one.status == "parked" for one in publisher.known):
        return
    for one in raw.waiting(publisher.dataset.catalog()):
        decided = run.ledger.discarded(bronze, one.scope, one.id)
        if decided is None and one.number in publisher.known.published:
            with run.ledger.task("extract", table, one.scope, keep_going=True) as task:
                task.parked(raw.parked_error([one]))


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:]))
