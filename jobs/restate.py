"""Restate: say a day, a scope or an entity again, after a correction, or take one statement back.

The history keeps both beliefs.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import date

from varve.model.scope import Scope
from varve.run.cli import Parser, launch, moment
from varve.run.run import Run
from varve.silver import EntityLoad, fold_entity
from varve.silver.inputs import code_lists, pseudonym_key
from varve.silver.restate import say_again
from varve.silver.retract import take_back


def parser() -> Parser:
    """The options of the job."""
    parser = Parser(
        description=__doc__,
        epilog="Example: restate --table claim --key 7 --at 2026-03-01 --says status=open --reason 'sent twice'",
    )
    parser.add_argument("--table", required=True, metavar="ENTITY")
    parser.add_argument(
        "--day", type=date.fromisoformat, metavar="YYYY-MM-DD", help="only its extracts; default: all that bronze has"
    )
    parser.add_argument(
        "--key", action="append", metavar="[COLUMN=]VALUE", help="take a statement of this key back, of one --scope"
    )
    parser.add_argument("--at", type=moment, metavar="TIME", help="with --key: since when it holds, UTC without offset")
    parser.add_argument(
        "--says", action="append", default=[], metavar="COLUMN=VALUE",
        help="with --key: which of several is meant; op=delete: the delete",
    )  # fmt: skip
    parser.add_argument("--scope", action="append", type=Scope.parse, metavar="COUNTRY/ENTITY", help="only this scope")
    parser.add_argument("--reason", required=True, help="why; the ledger keeps it")
    parser.add_argument("--accept", action="store_true", help="with --day: also what the guard refuses")
    return parser


def run(run: Run, args: Namespace) -> None:
    """Say the extracts again, in the order of time, or take one statement back; then fold."""
    contract = run.config.silver_contract(args.table)
    load = EntityLoad(run, contract, lists=code_lists(run), key=pseudonym_key(run))
    scopes = args.scope or []
    with run.lease(load.table):
        if args.key:
            says = dict(text.partition("=")[::2] for text in args.says)
            take_back(load, args.key, at=args.at, says=says, scopes=scopes, day=args.day, reason=args.reason)
        else:
            say_again(load, day=args.day, scopes=frozenset(scopes), reason=args.reason, accept=args.accept)
        fold_entity(load)


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:]))
