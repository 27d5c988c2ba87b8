"""The log of one run, `<lake>/ops/log/<run>.jsonl`: a JSON line per event, written at once: a kill loses nothing.

{"event": "start",    "at": …, "row": {…, "status": "running"}}    a task began
{"event": "row",      "at": …, "row": {…, "status": "done"}}       it ended; the row goes into ops.runs
{"event": "drop",     "at": …, "row": {…}}                         it ended and has nothing to say beside its tables
{"event": "decision", "at": …, "decision": {…}}                    goes into ops.decisions
{"event": "closed",   "at": …}                                     everything above is in the ops tables
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from varve import ops
from varve.errors import StorageError

Status = Literal["running", "done", "skipped", "parked", "failed"]
Verdict = Literal["accept", "discard"]

KILLED: Final = "the run was killed before this task ended; the next run does again what is not committed"

_TAIL: Final = 256  # [bytes] more than the line of a `closed` event has


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
    status: Status
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
    verdict: Verdict
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


class Journal:
    """An open log. Every line is one write to a file opened for appending: whole or torn, never mixed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def write(self, event: Event) -> None:
        """Append the event; the operating system has it when this returns."""
        try:
            if self._file is None:
                self._file = self._open()
            os.write(self._file, msgspec.json.encode(event) + b"\n")
        except OSError as error:
            where, remedy = str(self.path), "Is the disk full or read-only?"
            raise StorageError("the log could not be written", where=where, found=error, remedy=remedy) from error

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        if torn(self.path):
            os.write(file, b"\n")
        return file

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def events(path: Path) -> Iterator[Event]:
    """The events of a log, oldest first. A line torn by a kill is passed over: its task has no end, so it failed."""
    for line in path.read_bytes().splitlines():
        try:
            yield msgspec.json.decode(line, type=Event)
        except msgspec.MsgspecError:
            continue


def take_in(root: Path, log: Path) -> int:
    """Bring what a log says into the ops tables, mark it as closed and return how many rows the tables did not have.

    A task that began and never ended was killed.
    """
    started: dict[str, Row] = {}
    ended: dict[str, Row] = {}
    decisions: dict[str, dict[str, Any]] = {}
    last = None
    for event in events(log):
        last = event.at  # when a killed task stopped nobody knows: the last line is the last sign of life
        if event.decision:
            decisions[event.decision.id] = asdict(event.decision)
        elif event.row and event.event == "start":
            started[event.row.id] = event.row
        elif event.row:
            started.pop(event.row.id, None)
            if event.event == "row":
                ended[event.row.id] = event.row
    killed = [replace(row, status="failed", error=KILLED, reason="killed", ended_at=last) for row in started.values()]
    runs = {row.id: asdict(row) for row in (*ended.values(), *killed)}
    taken = _add_missing(root, ops.RUNS, runs) + _add_missing(root, ops.DECISIONS, decisions)
    with closing(Journal(log)) as journal:
        journal.write(Event("closed", datetime.now(UTC)))
    return taken


def _add_missing(root: Path, table: str, rows: Mapping[str, Mapping[str, Any]]) -> int:
    """Append the rows whose id the table does not hold, and return how many they were."""
    if not rows:
        return 0
    listed = ", ".join(f"'{identity}'" for identity in rows)
    known = {row["id"] for row in ops.rows(root, table, columns=["id"], where=f"id IN ({listed})")}
    missing = [row for identity, row in rows.items() if identity not in known]
    ops.append(root, table, missing)
    return len(missing)


def torn(path: Path) -> bool:
    """Whether the last line has no end."""
    tail = _tail(path)
    return bool(tail) and not tail.endswith(b"\n")


def closed(path: Path) -> bool:
    """Whether everything that the log says is in the ops tables."""
    last = _tail(path).rstrip(b"\n").rpartition(b"\n")[2]
    return last.startswith(b'{"event":"closed"')


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        return file.read()
