"""Audit: what is wrong with the histories, judged by their logs; --repair mends exactly the keys that are."""

from __future__ import annotations

import sys
from argparse import Namespace
from contextlib import nullcontext

from rich.console import Console
from rich.table import Table

from varve.history_table import HistoryTable
from varve.model.errors import ParkedError
from varve.ops.ledger import Task
from varve.run.cli import Parser, launch
from varve.run.run import Run
from varve.silver import EntityLoad
from varve.silver.inputs import code_lists, pseudonym_key

SHOWN = 20  # findings per entity


def parser() -> Parser:
    """The options of the job."""
    parser = Parser(description=__doc__)
    parser.add_argument("--table", action="append", metavar="ENTITY", help="only this entity (may be repeated)")
    parser.add_argument("--repair", action="store_true", help="make the keys that are wrong anew from the log")
    return parser


def run(run: Run, args: Namespace) -> None:
    """Audit every entity; what is wrong and not repaired ends in exit 3."""
    console = Console(highlight=False)
    lists, key = code_lists(run), pseudonym_key(run)
    for entity in args.table or run.config.entities():
        history = EntityLoad(run, run.config.silver_contract(entity), lists=lists, key=key).history
        name, anew = f"silver.{entity}", f"./spark-submit.sh silver --table {entity}"
        with run.lease(name) if args.repair else nullcontext(), run.ledger.task("audit", name) as task:
            if not run.store.exists(history.layer, history.log_table):
                task.skip("nothing was loaded yet")
                continue
            is_lost = not run.store.exists(history.layer, entity)
            reason = "the versions are not there" if is_lost else history.outgrown()
            if reason is None:
                judge(history, task, console, repair=args.repair)
            elif args.repair:
                rows = history.fold().inserted
                console.print(f"{name}: {reason}; {rows} versions made anew from the log", soft_wrap=True)
            else:
                console.print(f"{name}: not audited, {reason}; {anew} makes them anew from the log", soft_wrap=True)
                if is_lost:
                    task.parked(ParkedError(reason, where=name, remedy=anew))
                else:
                    task.skip(reason)


def judge(history: HistoryTable, task: Task, console: Console, *, repair: bool) -> None:
    """Print what is wrong with the versions, and mend it or park the task."""
    name, identity = f"silver.{history.entity}", history.policy.identity
    findings = history.audit().persist()
    found = findings.count()
    console.print(f"{name}: {found or 'no'} {'finding' if found == 1 else 'findings'}")
    if found:
        table = Table("kind", *identity, "versions")
        for row in findings.orderBy("kind", *identity).limit(SHOWN).collect():
            table.add_row(row.kind, *(str(row[c]) for c in identity), row.detail)
        console.print(table)
    findings.unpersist()
    if found and repair:
        fold = history.repair()
        console.print(f"{name}: {fold.removed} versions replaced by {fold.inserted}")
    elif found:
        remedy = f"./spark-submit.sh audit --table {history.entity} --repair"
        what = f"{found} {'finding' if found == 1 else 'findings'}"
        task.parked(ParkedError(what, where=name, remedy=remedy))


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:]))
