"""Bronze: the records of raw, typed by their contract. Nothing is dropped: a row, or a reject with its reason."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import groupby

from varve import raw
from varve.arguments import Parser, launch
from varve.config import Dataset
from varve.errors import UsageError
from varve.lake import Lake
from varve.loading import Load
from varve.raw import Manifest

TABLES_AT_ONCE = 2  # while one table waits for its commit, another computes


def parser() -> Parser:
    """The options of the job."""
    parser = Parser(description=__doc__)
    parser.add_argument("--source", action="append", default=[], help="only this source (may be repeated)")
    parser.add_argument("--table", action="append", default=[], help="only this bronze table (may be repeated)")
    parser.add_argument("--discard", metavar="EXTRACT", help="go on without this parked extract; needs --reason")
    parser.add_argument("--reason", default="", help="why it is discarded; the ledger keeps it")
    return parser


def run(lake: Lake, args: Namespace) -> None:
    """Load every manifest that is not loaded yet; a scope that fails does not stop the others."""
    wanted = [
        dataset
        for dataset in lake.config.datasets()
        if (not args.source or dataset.source in args.source) and (not args.table or dataset.table in args.table)
    ]
    if not wanted:
        raise UsageError("no dataset is called that", where="--source, --table", found=[*args.source, *args.table])
    if args.discard:
        _discard(lake, wanted, args.discard, args.reason)
    with ThreadPoolExecutor(TABLES_AT_ONCE) as pool:
        runs = [pool.submit(copy_context().run, _load, lake, dataset) for dataset in wanted]
    for finished in runs:
        finished.result()


def _load(lake: Lake, dataset: Dataset) -> None:
    """Bring one bronze table up to date."""
    load = Load.of(lake.store, dataset, run_id=lake.run_id)
    table = f"bronze.{load.table}"
    manifests = raw.manifests(lake.root, dataset.source, dataset.name)
    loaded = lake.store.loaded("bronze", load.table)
    pending = [m for m in manifests if m.id not in loaded]
    pending = [m for m in pending if lake.ledger.discarded(table, m.scope, m.id) is None]
    pending = [m for m in pending if not (load.parks(m) and raw.replaced(m, manifests))]
    if not pending:
        with lake.ledger.task("bronze", table) as task:
            task.skip()
    for scope, extracts in groupby(sorted(pending, key=lambda m: (m.scope, m.order)), key=lambda m: m.scope):
        with lake.ledger.task("bronze", table, scope, keep_going=True) as task:
            load.into(task, list(extracts))


def _discard(lake: Lake, datasets: Sequence[Dataset], extract: str, reason: str) -> None:
    found: list[Manifest] = [
        m for one in datasets for m in raw.manifests(lake.root, one.source, one.name) if m.id == extract
    ]
    if not found:
        raise UsageError("no extract has this id", where="--discard", found=extract, remedy="The ledger names it.")
    lake.ledger.decide(f"bronze.{found[0].table}", found[0].scope, extract, verdict="discard", reason=reason)


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:]))
