"""Restate: say a day, a scope or an entity again, after a correction; the history keeps both beliefs."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import date

from varve.arguments import Parser, launch
from varve.lake import Lake
from varve.scope import Scope
from varve.silver import EntityLoad, fold_entity
from varve.silver.inputs import code_lists, pseudonym_key
from varve.silver.restate import restate, windows_to_restate


def parser() -> Parser:
    """The options of the job."""
    parser = Parser(description=__doc__)
    parser.add_argument("--table", required=True, metavar="ENTITY")
    parser.add_argument(
        "--day", type=date.fromisoformat, metavar="YYYY-MM-DD", help="only its extracts; default: all that bronze has"
    )
    parser.add_argument("--scope", action="append", type=Scope.parse, metavar="COUNTRY/ENTITY", help="only this scope")
    parser.add_argument("--reason", required=True, help="why; the ledger keeps it")
    parser.add_argument("--accept", action="store_true", help="also what the guard would refuse")
    return parser


def run(lake: Lake, args: Namespace) -> None:
    """Say the extracts again, in the order of time, then fold."""
    contract = lake.config.silver_contract(args.table)
    load = EntityLoad(lake, contract, lists=code_lists(lake), key=pseudonym_key(lake))
    for window in windows_to_restate(load, args.day, frozenset(args.scope or ())):
        for scope in window.scopes:
            with lake.ledger.task("restate", load.table, scope, keep_going=True) as task:
                task.input(window.manifest.id)
                task.note(args.reason)
                commit = restate(load, window.only([scope]), accept=args.accept)
                task.wrote(commit)
                if commit.version is None:
                    task.skip(f"the log says so already; {args.reason}")
    fold_entity(load)


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:]))
