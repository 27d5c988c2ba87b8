"""How the tasks of a job graph end, and what follows from it: which task runs next, what the process exits with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from varve.ops.ending import PRECEDENCE, exit_code
from varve.ops.journal import Row


class State(StrEnum):
    """The end of a task, in Databricks' words and two of our own: parked and left out."""

    DONE = "done"
    PARKED = "parked"  # some of its scopes wait for a person, all others are done: what depends on it goes on
    FAILED = "failed"
    UPSTREAM_FAILED = "upstream failed"  # did not run, because of what it depends on
    EXCLUDED = "excluded"  # runs only after failures, and there were none
    LEFT_OUT = "left out"  # by --only or --from


_FAILED: Final = frozenset({State.FAILED, State.UPSTREAM_FAILED})
# On a failure these do not count as failed themselves: "excluded tasks are skipped and are treated as successful".
_FOR_FAILURES: Final = frozenset({"ALL_FAILED", "AT_LEAST_ONE_FAILED"})

MEANING: Final[Mapping[int, str]] = MappingProxyType({
    0: "done",
    1: "failed with an unexpected error",
    2: "failed: the command or the configuration has to be corrected",
    3: "done, and parked work waits for a decision",
    4: "failed: a source or the storage did not answer; run again to continue",
    130: "interrupted; the next run takes up where this one ended",
})  # fmt: skip


def decide(run_if: str, upstream: Sequence[State]) -> State | None:
    """What becomes of a task whose dependencies ended so: None when it runs, else how it ends without running.

    Source: Databricks, "Configure task dependencies". Parked and left-out tasks count as successful.
    """
    if not upstream:
        return None
    if all(state is State.EXCLUDED for state in upstream):
        return State.EXCLUDED
    failed = [state in _FAILED for state in upstream]
    holds = {
        "ALL_SUCCESS": not any(failed),
        "NONE_FAILED": not any(failed),
        "AT_LEAST_ONE_SUCCESS": not all(failed),
        "ALL_DONE": True,
        "ALL_FAILED": all(failed),
        "AT_LEAST_ONE_FAILED": any(failed),
    }
    if holds[run_if]:
        return None
    return State.EXCLUDED if run_if in _FOR_FAILURES else State.UPSTREAM_FAILED


def worst(codes: Iterable[int]) -> int:
    """The exit code that says most: a defect, a wrong configuration, a failed source, parked work, nothing."""
    return min(codes, key=PRECEDENCE.index, default=0)


@dataclass(frozen=True, slots=True)
class Step:
    """How one task ended. seconds: wall time over all attempts; error: what ended the last of them."""

    task: str
    state: State
    seconds: float = 0.0
    attempts: int = 0
    error: BaseException | None = None

    @property
    def code(self) -> int:
        return 0 if self.error is None else exit_code(self.error)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the ledger rows of a task."""

    tables: int
    scopes: int
    rows_in: int
    rows_out: int
    rows_rejected: int
    bytes: int
    parked: int
    failed: int
    idle: bool  # it looked at tables, and there was nothing new in any


@dataclass(frozen=True, slots=True)
class Report:
    """A run as it ended."""

    job: str
    run_id: str
    steps: tuple[Step, ...]
    rows: tuple[Row, ...]
    seconds: float
    log: Path

    @property
    def code(self) -> int:
        return worst(step.code for step in self.steps)

    def last_rows(self, task: str) -> tuple[Row, ...]:
        """The rows that the last attempt of a task left; those of its iterations (`task[input]`) belong to it."""
        mine = [row for row in self.rows if row.task == task or row.task.startswith(f"{task}[")]
        last: dict[str, int] = {}
        for row in mine:
            last[row.task] = max(row.attempt, last.get(row.task, 0))
        return tuple(row for row in mine if row.attempt == last[row.task])

    def totals(self, task: str) -> Totals:
        """What a task did, over all its tables and scopes."""
        return total(self.last_rows(task))


def total(rows: Sequence[Row]) -> Totals:
    """The sums of some ledger rows."""
    tables = [row for row in rows if row.table_name]
    return Totals(
        tables=len({row.table_name for row in tables}),
        scopes=len({row.scope for row in tables if row.scope}),
        rows_in=sum(row.rows_in for row in rows),
        rows_out=sum(row.rows_out for row in rows),
        rows_rejected=sum(row.rows_rejected for row in rows),
        bytes=sum(row.bytes for row in rows),
        parked=sum(row.status == "parked" for row in rows),
        failed=sum(row.status == "failed" for row in rows),
        idle=bool(tables) and all(row.status == "skipped" for row in tables),
    )
