"""Audit: what is wrong with the histories, judged by their logs; --repair mends exactly the keys that are."""

from __future__ import annotations

import sys
from argparse import Namespace

from rich.console import Console

from varve.run.cli import Parser, launch
from varve.run.run import Run
from varve.silver import EntityLoad
from varve.silver.audit import audit_entity
from varve.silver.inputs import code_lists, pseudonym_key


def parser() -> Parser:
    """The options of the job."""
    parser = Parser(description=__doc__)
    parser.add_argument("--table", action="append", metavar="ENTITY", help="only this entity (may be repeated)")
    parser.add_argument("--repair", action="store_true", help="rebuild the wrong keys from the log")
    return parser


def run(run: Run, args: Namespace) -> None:
    """Audit every entity; what is wrong and not repaired ends in exit 3."""
    console = Console(highlight=False)
    lists, key = code_lists(run), pseudonym_key(run)
    for entity in args.table or run.config.entities():
        audit_entity(
            EntityLoad(run, run.config.silver_contract(entity), lists=lists, key=key), console, repair=args.repair
        )


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:]))
