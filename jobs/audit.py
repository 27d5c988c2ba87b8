"""Audit: what is wrong with the histories, judged by their logs; --repair mends exactly the keys that are."""

from __future__ import annotations

import sys
from argparse import Namespace

from rich.console import Console
from rich.table import Table

from varve.arguments import Parser, launch
from varve.errors import ParkedError
from varve.history_table import HistoryTable
from varve.lake import Lake

SHOWN = 20  # findings per entity


def parser() -> Parser:
    """The options of the job."""
    parser = Parser(description=__doc__)
    parser.add_argument("--table", action="append", metavar="ENTITY", help="only this entity (may be repeated)")
    parser.add_argument("--repair", action="store_true", help="make the keys that are wrong anew from the log")
    return parser


def run(lake: Lake, args: Namespace) -> None:
    """Audit every entity; findings that are not repaired end in exit 3."""
    console = Console(highlight=False)
    for entity in args.table or lake.config.entities():
        history = HistoryTable.of(lake.store, lake.config.silver_contract(entity))
        with lake.ledger.task("audit", f"silver.{entity}") as task:
            if not lake.store.exists(history.layer, entity):
                task.skip()
                continue
            findings = history.audit().persist()
            found = findings.count()
            console.print(f"silver.{entity}: {found or 'no'} {'finding' if found == 1 else 'findings'}")
            if found:
                shown = findings.orderBy("kind", *history.policy.identity).limit(SHOWN).collect()
                table = Table("kind", *history.policy.identity, "versions")
                for row in shown:
                    table.add_row(row.kind, *(str(row[c]) for c in history.policy.identity), row.detail)
                console.print(table)
            findings.unpersist()
            if found and args.repair:
                fold = history.repair()
                console.print(f"silver.{entity}: {fold.removed} versions replaced by {fold.inserted}")
            elif found:
                task.parked(
                    ParkedError(
                        f"{found} findings",
                        where=f"silver.{entity}",
                        remedy=f"./spark-submit.sh audit --table {entity} --repair",
                    )
                )


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:]))
