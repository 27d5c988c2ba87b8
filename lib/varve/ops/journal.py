"""The log of one run, `ops/log/<run>.jsonl`: a JSON line per event, written at once: a kill loses nothing.

{"event": "start",    "at": …, "row": {…, "status": "running"}}    a task began
{"event": "row",      "at": …, "row": {…, "status": "done"}}       it ended; the row goes into ops.runs
{"event": "drop",     "at": …, "row": {…}}                         it ended and has nothing to say beside its tables
{"event": "decision", "at": …, "decision": {…}}                    goes into ops.decisions
{"event": "closed",   "at": …}                                     everything above is in the ops tables
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from varve.model.errors import StorageError
from varve.ops import tables
from varve.storage import Files, Lines

RowStatus = Literal["running", "done", "skipped", "parked", "failed"]
DecisionVerdict = Literal["accept", "discard"]

KILLED: Final = "the run was killed before this task ended; the next run does again what is not committed"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of ops.runs. seconds: wall time; drift, guard: JSON; table_name: None for a task without a table."""

    id: str
    run_id: str
    job: str
    task: str
    step: str
    attempt: int
    table_name: str | None
    scope: str | None
    status: RowStatus
    started_at: datetime
    manifests: tuple[str, ...] = ()
    fingerprint: str | None = None
    version_before: int | None = None
    version_after: int | None = None
    rows_in: int = 0
    rows_out: int = 0
    rows_rejected: int = 0
    seconds: float = 0.0
    bytes: int = 0
    drift: str | None = None
    guard: str | None = None
    reason: str | None = None
    remedy: str | None = None
    error: str | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """One row of ops.decisions: what a person decided about a parked manifest."""

    id: str
    table_name: str
    scope: str | None
    manifest: str
    verdict: DecisionVerdict
    reason: str
    decided_by: str
    decided_at: datetime
    run_id: str


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the log."""

    event: Literal["start", "row", "drop", "decision", "closed"]
    at: datetime
    row: Row | None = None
    decision: Decision | None = None


LOG_FOLDER: Final = "ops/log"


def log_of(files: Files, run_id: str) -> Lines:
    """The log of a run."""
    return Lines(files, f"{LOG_FOLDER}/{run_id}.jsonl")


def run_ids(files: Files) -> list[str]:
    """The runs that have a log, sorted."""
    names = (entry.key.removeprefix(f"{LOG_FOLDER}/").partition(".jsonl") for entry in files.list(LOG_FOLDER))
    return sorted({name for name, ending, _ in names if ending})


def write(log: Lines, event: Event) -> None:
    """Add the event; it is there when this returns. Raises StorageError."""
    try:
        log.add(msgspec.json.encode(event))
    except StorageError as error:
        raise StorageError(
            "the log could not be written", where=log.where, found=error.found or error.what, remedy=error.remedy
        ) from error


def events(log: Lines) -> Iterator[Event]:
    """The events of a log, oldest first. A line torn by a kill is passed over: its task has no end, so it failed."""
    for line in log.read():
        try:
            yield msgspec.json.decode(line, type=Event)
        except msgspec.MsgspecError:
            continue


@dataclass(slots=True)
class LogContents:
    """The rows and decisions of a log, by id. begun: tasks without an end; ended: with one; last: its last event."""

    begun: dict[str, Row] = field(default_factory=dict)
    ended: dict[str, Row] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    last: datetime | None = None

    def killed(self) -> list[Row]:
        """The tasks without an end, of a run that was killed. When they stopped nobody knows: the last event is the
        last sign of life."""
        return [
            replace(row, status="failed", error=KILLED, reason="killed", ended_at=self.last)
            for row in self.begun.values()
        ]


def contents(log: Lines) -> LogContents:
    """The events of a log, put together. An absent log is empty."""
    read = LogContents()
    for event in events(log):
        read.last = event.at
        if event.decision:
            read.decisions[event.decision.id] = event.decision
        elif event.row and event.event == "start":
            read.begun[event.row.id] = event.row
        elif event.row:
            read.begun.pop(event.row.id, None)
            if event.event == "row":
                read.ended[event.row.id] = event.row
    return read


@dataclass(frozen=True, slots=True)
class RecoveredLog:
    """What `recover` did. rows: that the tables did not have; killed: tasks that began and never ended."""

    rows: int = 0
    killed: tuple[Row, ...] = ()


def recover(root: Path, log: Lines) -> RecoveredLog:
    """Add the rows and decisions of a log to the ops tables, and mark it as closed. Raises StorageError.

    A task that began and never ended was killed.

    Under the lease of the log's run, which saves work: of two at once each adds what the tables lack."""
    log_contents = contents(log)
    killed = log_contents.killed()
    runs = {row.id: asdict(row) for row in (*log_contents.ended.values(), *killed)}
    decisions = {decision.id: asdict(decision) for decision in log_contents.decisions.values()}
    added = tables.add_missing(root, tables.RUNS, runs) + tables.add_missing(root, tables.DECISIONS, decisions)
    if not closed(log):
        write(log, Event("closed", datetime.now(UTC)))
        log.close()
    return RecoveredLog(added, tuple(killed))


def closed(log: Lines) -> bool:
    """Whether every row and decision of the log is in the ops tables: its last event says so."""
    return log.last().startswith(b'{"event":"closed"')
