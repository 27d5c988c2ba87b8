"""Restate: say a day, a scope or an entity again, after a correction, or take one statement back.

The history keeps both beliefs.
"""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from datetime import date

from rich.console import Console

from varve.model.errors import UsageError
from varve.model.scope import Scope
from varve.run.cli import Parser, launch, moment
from varve.run.run import Run
from varve.silver import EntityLoad, fold_entity
from varve.silver.inputs import code_lists, pseudonym_key
from varve.silver.keys import key_of
from varve.silver.restate import restate, windows_to_restate
from varve.silver.retract import retract


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
    with run.lease(load.table):
        if args.key:
            take_back(load, args)
        else:
            say_again(load, args)
        fold_entity(load)


def say_again(load: EntityLoad, args: Namespace) -> None:
    if args.accept and args.day is None:
        raise UsageError(
            "what the guard refuses is let in day by day", where="--accept", found="no --day",
            expected="--day YYYY-MM-DD", remedy="Without --accept the run names the days that it refuses.",
        )  # fmt: skip
    windows, left_out = windows_to_restate(load, args.day, frozenset(args.scope or ()))
    for left in left_out:
        with load.run.ledger.task("restate", load.table, left.scope) as task:
            task.input(*(manifest.id for manifest in left.manifests))
            task.skip(f"{left}; {args.reason}")
        Console(stderr=True, highlight=False).print(f"{load.table} {left}", soft_wrap=True)
    for window in windows:
        with load.run.ledger.task("restate", load.table, window.scopes[0], keep_going=True) as task:
            task.input(window.manifest.id)
            task.note(args.reason)
            commit = restate(load, window, reason=args.reason, accept=args.accept)
            task.wrote(commit)
            if commit.version is None:
                task.skip(f"the log says so already; {args.reason}")


def take_back(load: EntityLoad, args: Namespace) -> None:
    scopes = args.scope or [None]
    if args.at is None or args.day is not None or len(scopes) > 1:
        raise UsageError(
            "a statement has one time and one scope", where="--key", expected="--at TIME, one --scope, no --day",
            remedy=f"What was said of a key, and when: ./spark-submit.sh history --table {args.table} "
            f"{shlex.join(w for key in args.key for w in ('--key', key))} --changes",
        )  # fmt: skip
    says = dict(text.partition("=")[::2] for text in args.says)
    with load.run.ledger.task("retract", load.table, scopes[0]) as task:
        task.note(args.reason)
        task.wrote(retract(load, key_of(load.contract.keys, args.key), at=args.at, says=says, scope=scopes[0]))


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:]))
