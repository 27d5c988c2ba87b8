"""Judges the versions of one entity by its log, and mends what is wrong."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Final

from rich.console import Console
from rich.table import Table

from varve.history_table import HistoryTable
from varve.model.errors import ParkedError
from varve.ops.task import Task
from varve.silver.load import EntityLoad

SHOWN: Final = 20  # findings that are printed


def audit_entity(load: EntityLoad, console: Console, *, repair: bool) -> None:
    """Audit one entity; what is wrong and not repaired is parked. repair: mend it, under the lease of its table."""
    history, run, name = load.history, load.run, load.table
    anew = f"./spark-submit.sh silver --table {history.entity}"
    with run.lease(name) if repair else nullcontext(), run.ledger.task("audit", name) as task:
        if not run.store.exists(history.layer, history.log_table):
            task.skip("nothing was loaded yet")
            return
        is_lost = not run.store.exists(history.layer, history.entity)
        reason = "the versions are not there" if is_lost else history.reason_to_rebuild()
        if reason is None:
            judge(history, task, console, repair=repair)
        elif repair:
            rows = history.fold().inserted
            console.print(f"{name}: {reason}; {rows} versions rebuilt from the log", soft_wrap=True)
        else:
            console.print(f"{name}: not audited, {reason}; {anew} rebuilds them from the log", soft_wrap=True)
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
