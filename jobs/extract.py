"""Extract: what files and databases hold that is new, into raw, as received. A file that cannot be read is parked."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from varve.connect import connector_of, extract
from varve.model.errors import UsageError
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
            connector, extracts = connector_of(run.config, dataset.source), run.raw(dataset.source, dataset.name)
            extract(dataset, connector, extracts, run.ledger, run.leases, expected=bool(args.source))


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:]))
