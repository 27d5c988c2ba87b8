"""Bronze: the records of raw, typed by their contract. Nothing is dropped: a row, or a reject with its reason."""

from __future__ import annotations

import sys
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from varve.bronze.load import load_table
from varve.bronze.lost import discard
from varve.model.errors import UsageError
from varve.run.cli import Parser, launch
from varve.run.run import Run

TABLES_AT_ONCE = 2  # while one table waits for its commit, another computes


def parser() -> Parser:
    """The options of the job."""
    parser = Parser(description=__doc__)
    parser.add_argument("--source", action="append", default=[], help="only this source (may be repeated)")
    parser.add_argument("--table", action="append", default=[], help="only this bronze table (may be repeated)")
    parser.add_argument("--discard", metavar="EXTRACT", help="go on without this parked extract; needs --reason")
    parser.add_argument("--reason", default="", help="why it is discarded; the ledger keeps it")
    return parser


def run(run: Run, args: Namespace) -> None:
    """Load every manifest that is not loaded yet; a scope that fails does not stop the others."""
    wanted = [
        dataset
        for dataset in run.config.datasets()
        if (not args.source or dataset.source in args.source) and (not args.table or dataset.table in args.table)
    ]
    if not wanted:
        raise UsageError(
            "no dataset is called that", where="--source, --table", found=", ".join([*args.source, *args.table]),
            expected=", ".join(f"{one.source}: {one.table}" for one in run.config.datasets()),
        )  # fmt: skip
    if args.discard:
        discard(run, wanted, args.discard, args.reason)
    with ThreadPoolExecutor(TABLES_AT_ONCE) as pool:
        runs = [pool.submit(copy_context().run, load_table, run, dataset) for dataset in wanted]
    for finished in runs:
        finished.result()


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:]))
