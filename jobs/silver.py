"""Silver: conform, check and pseudonymise what bronze has loaded, and keep the history of every entity."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from rich.console import Console

from varve.model.errors import UsageError
from varve.model.scope import Scope
from varve.run.cli import Parser, launch
from varve.run.run import Run
from varve.silver import EntityLoad, SnapshotDecision, load_entity, plan_of
from varve.silver.inputs import code_lists, pseudonym_key

AT_ONCE = 4  # entities: the driver's part of one runs beside the tasks of another


def parser() -> ArgumentParser:
    """The options of the job."""
    parser = Parser(description=__doc__)
    parser.add_argument("--table", action="append", metavar="ENTITY", help="only this entity (may be repeated)")
    parser.add_argument("--scope", action="append", type=Scope.parse, metavar="COUNTRY/ENTITY", help="only this scope")
    parser.add_argument("--accept", metavar="REASON", help="let the oldest parked snapshot of every scope in")
    parser.add_argument("--discard", metavar="REASON", help="drop the oldest parked snapshot of every scope")
    parser.add_argument(
        "--no-fold", action="store_true",
        help="log the changes and leave the versions as they are: the next run without it folds them all at once",
    )  # fmt: skip
    parser.add_argument("--plan", action="store_true", help="show what would change, write nothing")
    return parser


def run(run: Run, args: Namespace) -> None:
    """Load the entities side by side; what one of them does wrong does not stop the others."""
    decision, wanted = decided(args), frozenset(args.scope or ())
    lists, key = code_lists(run), pseudonym_key(run)
    contracts = [run.config.silver_contract(entity) for entity in args.table or run.config.entities()]
    loads = [EntityLoad(run, contract, lists=lists, key=key) for contract in contracts]
    if args.plan:
        console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
        for load in loads:
            console.print(plan_of(load, wanted))
        return
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="silver") as pool:
        begun = [
            pool.submit(copy_context().run, load_entity, load, wanted=wanted, decision=decision, folds=not args.no_fold)
            for load in loads
        ]
    for one in begun:
        one.result()


def decided(args: Namespace) -> SnapshotDecision | None:
    """What the person says about parked snapshots; an empty reason is none (a job's parameter that was not given)."""
    if args.accept and args.discard:
        raise UsageError("a snapshot is either accepted or discarded", where="--accept and --discard")
    if args.accept:
        return SnapshotDecision("accept", args.accept)
    return SnapshotDecision("discard", args.discard) if args.discard else None


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:]))
