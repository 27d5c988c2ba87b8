"""What was done: one row per (run, task, table, scope), and what people decided about parked work.

The log of the run (`journal.py`) has every row at once, the Delta tables `ops.runs` and `ops.decisions` get them once
per task. What a killed run left in its log alone is brought into the tables by the next run. Delta's own commits decide
what is loaded; the ledger decides nothing, so losing it loses no data.

    with ledger.task("bronze", "bronze.es_core_claim", scope) as task:
        task.input(manifest.id)
        task.read(manifest.rows)
        task.wrote(store.append(...), rejected=rejected)
"""

from __future__ import annotations

import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from varve.model.errors import OvertakenError, ParkedError, TransformError, UsageError
from varve.model.scope import Scope
from varve.ops import journal, tables
from varve.ops.decisions import Decisions
from varve.ops.ending import PRECEDENCE, exit_code, failed_row, of_a_row, status_of
from varve.ops.journal import Decision, Event, RecoveredLog, Row
from varve.ops.task import Task
from varve.spark.failures import explained
from varve.storage import Disk, HeldLeases, Holder, Leases, Watch, lease


@dataclass(frozen=True, slots=True)
class Killed:
    """A run that was killed. rows: that the ops tables did not have."""

    run_id: str
    rows: int


@dataclass(frozen=True, slots=True)
class _Place:
    """The task of the graph that runs in this thread."""

    task: str
    attempt: int
    kept: list[BaseException]  # errors of tasks with keep_going


_here: ContextVar[_Place | None] = ContextVar("varve_task", default=None)


RUN: Final = "run.{}"  # the lease of a run, from the first line of its log until the log is in the tables


class Ledger:
    """The ledger of one run. Threads may share it.

    root: the lake's folder; job: its name in the rows; leases: of the lake. The run holds one while its log is open, so
    that others know it is alive. A run that takes it for dead brings its log into the tables; should it wake up, it
    replaces the rows that the other wrote for it. What cannot be written is a StorageError.
    """

    def __init__(self, root: Path, *, run_id: str, job: str, leases: Leases | None = None) -> None:
        self.root = root
        self.run_id = run_id
        self.job = job
        self.files = Disk(root)
        self.log = root / journal.LOG_FOLDER / f"{run_id}.jsonl"
        self.decisions = Decisions(root, run_id, self._keep_decision)
        self.listeners: list[Callable[[Row], None]] = []
        self._leases = leases or Leases(self.files, holder=Holder.here(job=job, run_id=run_id))
        self._journal = journal.log_of(self.files, run_id)
        self._held = ExitStack()
        self._lease: HeldLeases | None = None
        self._was_recovered = False  # another run took this one for dead, and wrote its rows
        self._dropped: list[str] = []  # ids of rows that are not kept, since their tables say all
        self._inherited: list[Killed] = []  # from an earlier run of the same id
        self._watches: dict[str, Watch] = {}
        self._lock = threading.RLock()
        self._rows: list[Row] = []
        self._flushed = 0
        self._places: list[_Place] = []

    @property
    def rows(self) -> tuple[Row, ...]:
        """The finished rows of this run, in the order in which they ended."""
        with self._lock:
            return tuple(self._rows)

    @contextmanager
    def within(self, task: str, *, attempt: int = 1) -> Iterator[None]:
        """Everything recorded inside belongs to this task of the job graph. attempt: from 1.

        At its end the worst error that tasks inside have kept is raised, in the order of PRECEDENCE."""
        place = _Place(task, attempt, [])
        row = self._start(task, None, None, place)
        token = _here.set(place)
        with self._lock:
            self._places.append(place)
        try:
            yield
            if place.kept:
                raise min(place.kept, key=lambda error: PRECEDENCE.index(exit_code(error)))
        except BaseException as raised:
            error = self._traced(explained(raised, self.root), task)
            status = status_of(error)
            is_written = any((r.task, r.attempt, r.status) == (task, attempt, status) for r in self.rows)
            is_mistyped = isinstance(error, UsageError) and task == self.job  # nothing of the lake has failed
            self._end("drop" if is_written or is_mistyped else "row", failed_row(row, error))
            if error is raised:
                raise
            raise error from raised
        else:
            self._end("drop", row)
        finally:
            _here.reset(token)
            with self._lock:
                self._places.remove(place)

    @contextmanager
    def task(
        self, step: str, table: str, scope: Scope | str | None = None, *, keep_going: bool = False
    ) -> Iterator[Task]:
        """Record what is done to one table in one scope.

        step: bronze, silver …; table: `bronze.es_core_claim`. An exception is recorded and raised again; with
        keep_going only at the end of `within`, after the other scopes.
        """
        place = self._place()
        task = Task(self._start(step, table, None if scope is None else str(scope), place))
        began = time.monotonic()
        try:
            yield task
        except BaseException as raised:
            error = self._traced(of_a_row(explained(raised, self.root), step, table), table)
            self._end("row", failed_row(task.row, error), began)
            if keep_going and isinstance(error, Exception) and place:
                place.kept.append(error)
            elif error is raised:
                raise
            else:
                raise error from raised
        else:
            row = replace(task.row, status="done") if task.row.status == "running" else task.row
            self._end("row", row, began)
            if row.status == "parked" and place:
                place.kept.append(ParkedError(row.error or "parked", remedy=row.remedy))

    def flush(self) -> None:
        """Bring the finished rows into ops.runs, in one commit."""
        with self._lock:
            rows = self._rows[self._flushed :]
            self._keep(tables.RUNS, [asdict(row) for row in rows])
            self._flushed = len(self._rows)

    def _keep(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows, or replace those that another run wrote for this one when it took it for dead."""
        if not rows:
            return
        lease = self._hold()  # first: it may be now that this run notices that it was taken for dead
        if not self._was_recovered:
            try:
                tables.append(self.root, table, rows, check=lease.check)
                return
            except OvertakenError:
                self._hold()
        tables.put(self.root, table, rows, instead_of=[*(row["id"] for row in rows), *self._dropped])

    def close(self) -> None:
        """Flush, and mark the log as closed. A run that recorded nothing leaves nothing."""
        with self._lock, closing(self._journal):
            self.flush()
            if self._lease is not None:
                self._write(Event("closed", _now()))
                self._forget(self.run_id)
                self._held.close()
                self._lease = None

    def recover(self, mend: Callable[[Killed], bool] = lambda _: True) -> list[Killed]:
        """Bring the logs of killed runs into the tables, and return these runs.

        mend: removes what else a killed run left; False when it cannot yet, then the next run asks again.
        A run whose process may be alive is left alone; it is dead when its lease did not change between two calls for
        the seconds that the lease states. Without ops.runs every log is read again: the ledger is rebuilt."""
        self.decisions.reread()
        found, self._inherited = self._inherited, []
        for killed in found:
            mend(killed)
        prefix = RUN.format("")
        for name in self._leases.names():
            run_id = name.removeprefix(prefix)
            if name == run_id or run_id == self.run_id:
                continue
            watch = self._watches.setdefault(run_id, self._leases.watch(name))
            if watch.is_dead():
                found += self._recovered(run_id, mend)
        if not tables.path(self.root, tables.RUNS).exists():
            open_runs = {name.removeprefix(prefix) for name in self._leases.names() if name.startswith(prefix)}
            others = [run_id for run_id in journal.run_ids(self.files) if run_id not in open_runs]
            found += [killed for run_id in others for killed in self._recovered(run_id, mend)]
        return found

    def _recovered(self, run_id: str, mend: Callable[[Killed], bool]) -> list[Killed]:
        """Recover the log of a run that is dead, under its lease, which stays until what the run left is mended."""
        log, name = journal.log_of(self.files, run_id), RUN.format(run_id)
        with self._leases.held(name):
            recovered = journal.recover(self.root, log) if log.exists() else RecoveredLog()
        found = _killed(run_id, recovered)
        is_mended = all(mend(killed) for killed in found)
        if is_mended and self._leases.watch(name).is_dead():  # else it has woken up
            self._forget(run_id)
        return found

    def _forget(self, run_id: str) -> None:
        """Remove the lease of a run that has ended."""
        self.files.delete(f"{lease.LEASES_FOLDER}/{RUN.format(run_id)}.json")

    def trace(self, error: BaseException, task: str) -> Path:
        """Add the full trace of an unexpected error to the file beside the log, and return its path."""
        file = self.log.with_suffix(".trace")
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as out:
            out.write(f"{_now().isoformat()} {task}\n")
            out.writelines(traceback.format_exception(error))
        return file

    def _traced(self, error: BaseException, task: str) -> BaseException:
        """The error; of the company's own code with a trace, which says more than the error may."""
        if isinstance(error, TransformError) and error.remedy is None:
            error.remedy = f"The trace is in {self.trace(error, task)}."
        return error

    def _keep_decision(self, decision: Decision) -> None:
        """Write a decision into the log, then into ops.decisions."""
        with self._lock:
            self._write(Event("decision", decision.decided_at, decision=decision))
            self._keep(tables.DECISIONS, [asdict(decision)])

    def _place(self) -> _Place | None:
        """The task of this thread; a job's own threads belong to the task that runs, if it is the only one."""
        if (place := _here.get()) is not None:
            return place
        with self._lock:
            return self._places[0] if len(self._places) == 1 else None

    def _start(self, step: str, table: str | None, scope: str | None, place: _Place | None) -> Row:
        row = Row(
            id=uuid.uuid4().hex, run_id=self.run_id, job=self.job, task=place.task if place else step, step=step,
            attempt=place.attempt if place else 1, table_name=table, scope=scope, status="running", started_at=_now(),
        )  # fmt: skip
        with self._lock:
            self._write(Event("start", row.started_at, row=row))
        for listener in self.listeners:
            listener(row)
        return row

    def _end(self, event: str, row: Row, began: float | None = None) -> None:
        ended = _now()
        seconds = (ended - row.started_at).total_seconds() if began is None else time.monotonic() - began
        row = replace(row, ended_at=ended, seconds=round(seconds, 3), fingerprint=_fingerprint(row.manifests))
        with self._lock:
            self._write(Event("row" if event == "row" else "drop", ended, row=row))
            if event == "row":
                self._rows.append(row)
            else:
                self._dropped.append(row.id)
        if event == "row":
            for listener in self.listeners:
                listener(row)

    def _write(self, event: Event) -> None:
        self._hold()
        journal.write(self._journal, event)

    def _hold(self) -> HeldLeases:
        """The lease of this run. Taken by its first event, and again when another run has taken it over."""
        if self._lease is None:
            self._lease = self._held.enter_context(self._leases.held(RUN.format(self.run_id)))
            if self._journal.exists() and not journal.closed(self._journal):  # an earlier run of the same id was killed
                self._inherited += _killed(self.run_id, journal.recover(self.root, self._journal))
        elif self._lease.is_lost:
            self._was_recovered = True
            self._held.close()
            self._lease = self._held.enter_context(self._leases.held(RUN.format(self.run_id)))
        return self._lease


def _killed(run_id: str, log: RecoveredLog) -> list[Killed]:
    return [Killed(run_id, log.rows)] if log.rows or log.killed else []


def _fingerprint(manifests: tuple[str, ...]) -> str | None:
    return sha256("\n".join(sorted(manifests)).encode()).hexdigest()[:16] if manifests else None


def _now() -> datetime:
    return datetime.now(UTC)
