"""What was done: one row per (run, task, table, scope), and what people decided about parked work.

The log of the run (`journal.py`) has every row at once, the Delta tables `ops.runs` and `ops.decisions` get them once
per task. What a killed run left in its log alone is taken into the tables by the next run. Delta's own commits decide
what is loaded; the ledger tells, so losing it loses no data.

    with ledger.task("bronze", "bronze.es_core_claim", scope) as task:
        task.input(manifest.id)
        task.read(manifest.rows)
        task.wrote(store.append(...), rejected=rejected)
"""

from __future__ import annotations

import getpass
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
from varve.ops.ending import PRECEDENCE, exit_code, failed_row, of_a_row, status_of
from varve.ops.journal import Decision, Event, Row, TakenIn, Verdict
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


RUN: Final = "run.{}"  # the lease of a run, from its first line in its log until the log is taken in


class Ledger:
    """The ledger of one run. Threads may share it.

    leases: of the lake; the run holds one of its own while its log is open, so that others know it is alive. Another
    run that takes it for dead takes its log in; should it wake up, its own rows replace what the other run recorded of them.
    """

    def __init__(self, root: Path, *, run_id: str, job: str, leases: Leases | None = None) -> None:
        self.root = root
        self.run_id = run_id
        self.job = job
        self.files = Disk(root)
        self.log = root / journal.FOLDER / f"{run_id}.jsonl"
        self.listeners: list[Callable[[Row], None]] = []
        self._leases = leases or Leases(self.files, holder=Holder.here(job=job, run_id=run_id))
        self._journal = journal.log_of(self.files, run_id)
        self._held = ExitStack()
        self._lease: HeldLeases | None = None
        self._was_taken_in = False  # by another run, which took this one for dead
        self._dropped: list[str] = []  # rows that do not go into ops.runs
        self._inherited: list[Killed] = []  # from an earlier run of the same id
        self._watches: dict[str, Watch] = {}
        self._lock = threading.RLock()
        self._rows: list[Row] = []
        self._flushed = 0
        self._places: list[_Place] = []
        self._decisions: dict[tuple[str, str, str], Decision] | None = None

    @property
    def rows(self) -> tuple[Row, ...]:
        """The finished rows of this run, in the order in which they ended."""
        with self._lock:
            return tuple(self._rows)

    @contextmanager
    def within(self, task: str, *, attempt: int = 1) -> Iterator[None]:
        """Everything recorded inside belongs to this task. On leaving, the worst error that was kept is raised."""
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
            told = any((r.task, r.attempt, r.status) == (task, attempt, status) for r in self.rows)
            self._end("drop" if told else "row", failed_row(row, error))
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

        An exception is recorded and raised again. With keep_going it waits until the other scopes are done: `within`
        raises it at its end.
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
        """Add rows that no other run has told of, or put them in place of what one has."""
        if not rows:
            return
        lease = self._hold()  # first: it may be now that this run notices that it was taken for dead
        if not self._was_taken_in:
            try:
                tables.append(self.root, table, rows, check=lease.check)
                return
            except OvertakenError:
                self._hold()
        tables.put(self.root, table, rows, instead_of=[*(row["id"] for row in rows), *self._dropped])

    def close(self) -> None:
        """Flush, and mark the log as taken in. A run that recorded nothing leaves nothing."""
        with self._lock, closing(self._journal):
            self.flush()
            if self._lease is not None:
                self._write(Event("closed", _now()))
                self._forget(self.run_id)
                self._held.close()
                self._lease = None

    def recover(self, mend: Callable[[Killed], bool] = lambda _: True) -> list[Killed]:
        """Take in what killed runs left in their logs. mend: removes what else one left, or says that it cannot yet:
        then the next run asks again.

        A run whose process may be alive is left alone, and looked at again by the next call: with no sign of life in
        between, for as long as its lease says, it is dead. Without the table every log is read again: the ledger is
        rebuilt."""
        self._decisions = None
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
                found += self._taken_in(run_id, mend)
        if not tables.path(self.root, tables.RUNS).exists():
            open_runs = {name.removeprefix(prefix) for name in self._leases.names() if name.startswith(prefix)}
            others = [run_id for run_id in journal.run_ids(self.files) if run_id not in open_runs]
            found += [killed for run_id in others for killed in self._taken_in(run_id, mend)]
        return found

    def _taken_in(self, run_id: str, mend: Callable[[Killed], bool]) -> list[Killed]:
        """Take in the log of a run that is dead, under its lease, which stays until what it left is mended."""
        log, name = journal.log_of(self.files, run_id), RUN.format(run_id)
        with self._leases.held(name):
            taken = journal.take_in(self.root, log) if log.exists() else TakenIn()
        found = _killed(run_id, taken)
        is_mended = all(mend(killed) for killed in found)
        if is_mended and self._leases.watch(name).is_dead():  # else it has woken up
            self._forget(run_id)
        return found

    def _forget(self, run_id: str) -> None:
        """Remove the lease of a run that has ended."""
        self.files.delete(f"{lease.FOLDER}/{RUN.format(run_id)}.json")

    def trace(self, error: BaseException, task: str) -> Path:
        """Write the full trace of an unexpected error beside the log, and return where."""
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

    def decide(
        self,
        table: str,
        scope: Scope | str | None,
        manifest: str,
        *,
        verdict: Verdict,
        reason: str,
        by: str | None = None,
    ) -> Decision:
        """Record what a person decided about a parked manifest. The last decision counts; the same one twice is one."""
        if not reason.strip():
            where = f"{table} {manifest}"
            raise UsageError("a decision needs a reason", where=where, remedy='Say why: --accept "reason".')
        text = None if scope is None else str(scope)
        with self._lock:
            known = self._decided().get((table, text or "", manifest))
            if known and (known.verdict, known.reason) == (verdict, reason):
                return known
            decision = Decision(
                id=uuid.uuid4().hex, table_name=table, scope=text, manifest=manifest, verdict=verdict, reason=reason,
                decided_by=by or getpass.getuser(), decided_at=_now(), run_id=self.run_id,
            )  # fmt: skip
            self._write(Event("decision", decision.decided_at, decision=decision))
            self._keep(tables.DECISIONS, [asdict(decision)])
            self._decided()[(table, text or "", manifest)] = decision
        return decision

    def accepted(self, table: str, scope: Scope | str | None, manifest: str) -> str | None:
        """The reason for which a person let this parked manifest in; None if nobody did."""
        return self._reason("accept", table, scope, manifest)

    def discarded(self, table: str, scope: Scope | str | None, manifest: str) -> str | None:
        """The reason for which a person discarded this parked manifest; None if nobody did."""
        return self._reason("discard", table, scope, manifest)

    def _reason(self, verdict: Verdict, table: str, scope: Scope | str | None, manifest: str) -> str | None:
        with self._lock:
            decision = self._decided().get((table, "" if scope is None else str(scope), manifest))
        return decision.reason if decision and decision.verdict == verdict else None

    def _decided(self) -> dict[tuple[str, str, str], Decision]:
        if self._decisions is None:
            found = [
                Decision(**row)
                for row in tables.rows(self.root, tables.DECISIONS, columns=tables.COLUMNS[tables.DECISIONS])
            ]
            found.sort(key=lambda decision: decision.decided_at)
            self._decisions = {(d.table_name, d.scope or "", d.manifest): d for d in found}
        return self._decisions

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
                self._inherited += _killed(self.run_id, journal.take_in(self.root, self._journal))
        elif self._lease.is_lost:
            self._was_taken_in = True
            self._held.close()
            self._lease = self._held.enter_context(self._leases.held(RUN.format(self.run_id)))
        return self._lease


def _killed(run_id: str, taken: TakenIn) -> list[Killed]:
    return [Killed(run_id, taken.rows)] if taken.rows or taken.killed else []


def _fingerprint(manifests: tuple[str, ...]) -> str | None:
    return sha256("\n".join(sorted(manifests)).encode()).hexdigest()[:16] if manifests else None


def _now() -> datetime:
    return datetime.now(UTC)
