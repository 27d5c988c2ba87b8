"""What runs have left in the ledger, those included that were killed or are at work and have only their logs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from varve.ops import journal, tables
from varve.ops.journal import Row, RowStatus
from varve.ops.ledger import RUN
from varve.run.run import Run
from varve.status.facts import End, Failure, PastRun

RUNS: Final = 5  # that are listed
CONTRADICTION: Final = "fold"  # the step that sets contradicting statements aside
RESOLVES: Final = ("restate", "retract")
_ANEW: Final = "rebuilt"  # how the reason of a fold begins that read the whole log

# Of every (step, table, scope) the last row of each status, and the last runs whole.
_LAST_ROWS: Final = f"""
run_id IN (SELECT run_id FROM stored GROUP BY run_id ORDER BY max(started_at) DESC LIMIT {RUNS}) OR
id IN (
  SELECT id FROM (
    SELECT id, row_number() OVER (
      PARTITION BY step, table_name, scope, status, coalesce(reason, '') LIKE '{_ANEW}%' ORDER BY started_at DESC
    ) AS place FROM stored WHERE table_name IS NOT NULL
  ) WHERE place = 1
)"""


@dataclass(frozen=True, slots=True)
class Past:
    """Rows of the ledger, oldest first; running: the runs that are alive."""

    rows: tuple[Row, ...]
    running: frozenset[str]

    def runs(self) -> list[PastRun]:
        """The last few runs, the last one first."""
        by_run: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            by_run[row.run_id].append(row)
        last_first = sorted(by_run.items(), key=lambda item: item[1][-1].started_at, reverse=True)
        return [run_of(rows, is_alive=run_id in self.running) for run_id, rows in last_first[:RUNS]]

    def last(self, step: str, table: str, scope: str | None = None) -> Row | None:
        """The last row of a step on a table that has ended; scope: of this scope, None: of any."""
        rows = (r for r in self.rows if (r.step, r.table_name) == (step, table) and r.status != "running")
        return next((r for r in reversed(list(rows)) if scope is None or r.scope == scope), None)

    def open_failures(self, waits: Mapping[str, frozenset[str]]) -> list[Row]:
        """The rows that failed and that no later one made good.

        waits: table of bronze or silver -> scopes that wait there: where nothing waits, nothing is left to be loaded.
        """
        loads = ("bronze", "silver")
        return [
            row
            for row in self._open("failed")
            if row.step not in loads or row.scope is None or row.scope in waits.get(row.table_name or "", ())
        ]

    def open_parked(self) -> list[Row]:
        """The parked rows that no later one made good. Contradictions are reported by the fold that met them first, and
        stand until somebody restates or retracts, or the versions are rebuilt."""
        return self._open("parked")

    def _open(self, status: RowStatus) -> list[Row]:
        return [
            row
            for place, row in enumerate(self.rows)
            if row.status == status and not any(_makes_good(row, later) for later in self.rows[place + 1 :])
        ]


def past(run: Run, running: frozenset[str], *, run_id: str | None = None) -> Past:
    """What is needed to say what is open. running: the runs that are alive; run_id: all of one run instead."""
    where = _LAST_ROWS if run_id is None else f"run_id = '{run_id}'"
    found = {
        row["id"]: _row(row)
        for row in tables.rows(run.root, tables.RUNS, columns=tables.COLUMNS[tables.RUNS], where=where)
    }
    for one in open_runs(run):
        if run_id in (None, one):
            log = journal.contents(journal.log_of(run.ledger.files, one))
            begun = log.begun.values() if one in running else log.killed()
            found = {row.id: row for row in (*log.ended.values(), *begun)} | found
    return Past(tuple(sorted(found.values(), key=lambda row: row.started_at)), running)


def open_runs(run: Run) -> list[str]:
    """The runs whose logs are not in the ledger yet: they are at work, or were killed."""
    prefix = RUN.format("")
    return [name.removeprefix(prefix) for name in run.leases.names() if name.startswith(prefix)]


def first_parked(run: Run) -> dict[tuple[str, str | None, str], datetime]:
    """(table, scope, extract) -> when the ledger first said that it is parked."""
    found: dict[tuple[str, str | None, str], datetime] = {}
    columns = ("table_name", "scope", "manifests", "started_at")
    for row in tables.rows(run.root, tables.RUNS, columns=columns, where="status = 'parked'"):
        for extract in row["manifests"] or ():
            key = (row["table_name"], row["scope"], extract)
            found[key] = min(row["started_at"], found.get(key, row["started_at"]))
    return found


def run_of(rows: Sequence[Row], *, is_alive: bool) -> PastRun:
    """The run that left these rows."""
    first = min(row.started_at for row in rows)
    last = max(row.ended_at or row.started_at for row in rows)
    return PastRun(rows[0].run_id, rows[0].job, first, last, "running" if is_alive else _end(rows))


def failures(rows: Iterable[Row]) -> list[Failure]:
    """What failed, the last first; all that a killed run was at is one."""
    killed: dict[str, list[Row]] = defaultdict(list)
    found: list[Failure] = []
    for row in rows:
        if row.reason == "killed":
            killed[row.run_id].append(row)
        else:
            found.append(
                Failure("failed", (_where(row),), row.error or "", row.remedy, row.run_id, row.job, row.started_at)
            )
    for run_id, left in killed.items():
        where = tuple(dict.fromkeys(_where(row) for row in left if row.table_name)) or (_where(left[0]),)
        at = max(row.ended_at or row.started_at for row in left)
        found.append(Failure("killed", where, journal.KILLED, None, run_id, left[0].job, at))
    return sorted(found, key=lambda one: (one.at is not None, one.at), reverse=True)


def _end(rows: Sequence[Row]) -> End:
    last: dict[str, int] = {}
    for row in rows:
        last[row.task] = max(row.attempt, last.get(row.task, 0))
    final = [row for row in rows if row.attempt == last[row.task]]
    if any(row.reason == "killed" for row in final):
        return "killed"
    statuses = {row.status for row in final}
    for status in ("failed", "parked"):
        if status in statuses:
            return status
    return "nothing new" if statuses == {"skipped"} else "done"


def _makes_good(row: Row, later: Row) -> bool:
    """Whether a later row makes this one obsolete, or repeats it."""
    if later.status == "running":
        return False
    if row.table_name is None:
        is_later_try = later.run_id != row.run_id or later.attempt > row.attempt
        return is_later_try and _task(later) == _task(row)
    if row.table_name != later.table_name:
        return False
    if row.step == CONTRADICTION and row.status == "parked":
        is_anew = later.step == CONTRADICTION and (later.status == "parked" or (later.reason or "").startswith(_ANEW))
        return is_anew or (later.step in RESOLVES and later.status == "done")
    return row.step == later.step and (row.scope in (None, later.scope) or later.scope is None)


def _task(row: Row) -> str:
    """The task, without the input of a for-each."""
    return row.task.partition("[")[0]


def _where(row: Row) -> str:
    return " ".join(part for part in (row.table_name or row.task, row.scope) if part)


def _row(values: Mapping[str, Any]) -> Row:
    return Row(**{**values, "manifests": tuple(values["manifests"] or ())})
