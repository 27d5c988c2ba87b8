"""The one thing to do next, the most urgent first: what cannot be read, is parked, failed, waits, is late."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from varve.model.errors import ParkedError, SourceError, StorageError, VarveError
from varve.status.facts import Failure, Freshness, Next, Parked, Status, Waiting

_WORDED: Final = ("restate",)  # jobs that do nothing without their options


def next_step(status: Status) -> Next | None:
    """What to do next, None when nothing is to do."""
    waiting = [one for one in status.waiting if not one.stopped]
    if unreadable := [one for one in status.failures if one.how == "unreadable"]:
        return _unreadable(unreadable)
    if status.parked:
        return _parked(status.parked[0], len(status.parked) - 1)
    if status.failures:
        return _failed(status.failures[0], len(status.failures) - 1)
    if waiting:
        return _waiting(status, waiting)
    if status.late:
        return _late(status.late[0], len(status.late) - 1)
    if status.datasets and not any(one.extracts for one in status.datasets):
        return Next("./spark-submit.sh daily", "nothing has landed yet")
    return None


def verdict(status: Status, step: Next | None) -> VarveError | None:
    """What a monitor gets: exit 4 when something failed, is late or cannot be read, else 3 when something is parked,
    None when all is well."""
    unreadable = [one for one in status.failures if one.how == "unreadable"]
    numbers = {
        "cannot be read": len(unreadable), "failed": len(status.failures) - len(unreadable),
        "parked": len(status.parked), "late": len(status.late),
    }  # fmt: skip
    what = ", ".join(f"{number} {name}" for name, number in numbers.items() if number)
    remedy = step.do if step else None
    if unreadable:
        return StorageError(what, where=status.lake, remedy=remedy)
    if status.failures or status.late:
        return SourceError(what, where=status.lake, remedy=remedy)
    return ParkedError(what, where=status.lake, remedy=remedy) if status.parked else None


def _unreadable(failures: Collection[Failure]) -> Next:
    first = next(iter(failures))
    return Next(first.remedy or "Look at the disk, then run status again.", f"{first.tables[0]} cannot be read")


def _parked(one: Parked, more: int) -> Next:
    where = " ".join(part for part in (one.table, one.scope) if part)
    return Next(one.remedy or "Look at it.", f"{where} is parked{_and_more(more)}")


def _failed(one: Failure, more: int) -> Next:
    why = f"{', '.join(one.tables[:3])} {'was killed' if one.how == 'killed' else 'failed'}{_and_more(more)}"
    if one.remedy:
        return Next(one.remedy, why)
    words = " …, with the options that it had" if one.job in _WORDED else ""
    return Next(f"./spark-submit.sh {one.job}{words}", why)


def _waiting(status: Status, waiting: Collection[Waiting]) -> Next:
    """The job that loads what waits, the first layer first; who works on it already is waited for."""
    layer = "bronze" if any(one.table.startswith("bronze.") for one in waiting) else "silver"
    mine = [one for one in waiting if one.table.startswith(f"{layer}.")]
    tables = list(dict.fromkeys(one.table for one in mine))
    extracts = sum(one.extracts for one in mine)
    more = f" and {len(tables) - 1} more" if len(tables) > 1 else ""
    why = f"{extracts} {'extract waits' if extracts == 1 else 'extracts wait'} for {tables[0]}{more}"
    if at_work := [run for run in status.runs if run.end == "running"]:
        return Next(f"Wait for run {at_work[0].id} ({at_work[0].job}), which is at work.", why)
    only = f" --table {tables[0].partition('.')[2]}" if len(tables) == 1 else ""
    return Next(f"./spark-submit.sh {layer}{only}", why)


def _late(one: Freshness, more: int) -> Next:
    why = f"{one.source} {one.dataset} was expected at {one.due:%Y-%m-%d %H:%M} UTC{_and_more(more)}"
    if one.asked_at is None or one.due is None or one.asked_at < one.due:
        return Next(f"./spark-submit.sh extract --source {one.source} --dataset {one.dataset}", why)
    asked = f"extract looked at {one.asked_at:%Y-%m-%d %H:%M} UTC and found nothing new"
    return Next(f"Ask who delivers {one.source}: {asked}.", why)


def _and_more(count: int) -> str:
    return f", and {count} more" if count else ""
