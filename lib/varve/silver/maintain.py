"""Maintains the tables of one entity: what has expired goes, small files are put together, old ones are deleted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from varve.history_table import HistoryTable, horizon, maintenance
from varve.ops.task import Task
from varve.silver.load import EntityLoad
from varve.silver.run import fold_entity
from varve.storage import HeldLeases

STEP: Final = "maintain"


def maintain(
    load: EntityLoad, held: HeldLeases, moment: datetime | None, *, said: bool, keep: timedelta | None
) -> None:
    """Maintain one entity. held: its lease, asked for again before each step, since what moves rows takes no number.

    moment: before which its history expires; said: a person named it; keep: of old files."""
    history, run = load.history, load.run
    if not history.is_folded():
        fold_entity(load)
    with run.ledger.task(STEP, load.table, keep_going=True) as task:
        if not run.store.exists(history.layer, history.log_table):
            task.skip()
            return
        done = list(maintained(history, task, held, moment, said=said))
        held.check()
        maintenance.vacuum(history, keep)
        held.check()
        task.note("; ".join(done)) if done else task.skip("nothing to do")


def maintained(
    history: HistoryTable, task: Task, held: HeldLeases, moment: datetime | None, *, said: bool
) -> Iterator[str]:
    """Expire and compact, and report what there was to do. said: a person named the moment."""
    held.check()
    if moment is not None and (said or horizon.may_pass_over(history, moment)):
        expiry = history.expire(moment)
        if expiry.changes or expiry.versions:
            yield f"expired {expiry.changes} changes and {expiry.versions} versions before {expiry.moment:%Y-%m-%d}"
    held.check()
    compaction = history.compact()
    for name, commit in (("log", compaction.log), ("versions", compaction.versions)):
        if commit.version is not None:
            yield f"compacted the {name}"
            task.wrote(commit)
