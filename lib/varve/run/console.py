"""What a person sees: progress and errors on stderr, the closing summary (or JSON lines for machines) on stdout."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from varve.model.errors import ConfigError, VarveError
from varve.ops.journal import Row
from varve.run.report import MEANING, Report, State, Step, Totals, total

_STYLE = {
    State.DONE: "green", State.PARKED: "yellow", State.FAILED: "bold red", State.UPSTREAM_FAILED: "red",
    State.EXCLUDED: "dim", State.LEFT_OUT: "dim",
}  # fmt: skip
_AGAIN = "Run it again: what is done is skipped."
_SHOWN = 20  # [problems] that the summary shows in full


@dataclass
class Screen:
    """quiet: errors only; verbose: a line per table and scope; json: JSON lines on stdout instead of the summary."""

    quiet: bool = False
    verbose: bool = False
    json: bool = False
    out: Console = field(default_factory=lambda: Console(highlight=False))
    err: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    _live: Progress | None = None
    _running: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def progress(self) -> Iterator[None]:
        """Show what runs while it runs: a moving line on a terminal, else a line per task."""
        if self.quiet or not self.err.is_terminal:
            yield
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=self.err, transient=True) as self._live:
            try:
                yield
            finally:
                self._live = None

    def started(self, task: str) -> None:
        """A task begins."""
        if self._live:
            self._running[task] = self._live.add_task(f"[bold]{task}")
        elif not self.quiet:
            self._line(f"{task}: started")

    def row(self, row: Row) -> None:
        """A ledger row that began or ended."""
        where = " ".join(part for part in (row.table_name, row.scope) if part)
        if row.status == "running":
            shown = row.task.partition("[")[0]
            if self._live and shown in self._running:
                self._live.update(self._running[shown], description=f"[bold]{row.task}[/]  {where}")
            return
        if self.json:
            self._machine("table", asdict(row))
        if self.verbose:
            reason = f" ({row.reason})" if row.reason and row.status != "done" else ""
            self._line(f"{row.task}: {where} {row.status}{reason}, {_counts(total([row]))}, {row.seconds:.1f} s")

    def retried(self, task: str, error: BaseException, *, seconds: float) -> None:
        """A task failed and is tried again."""
        if not self.quiet:
            self._line(f"{task}: {_first_line(error)}; next attempt in {seconds:g} s", "yellow")

    def ended(self, step: Step, totals: Totals) -> None:
        """A task has ended; totals: of its rows in the ledger."""
        if self._live and step.task in self._running:
            self._live.remove_task(self._running.pop(step.task))
        if self.json:
            counts = {key: value for key, value in asdict(totals).items() if key != "idle"}
            known = {"task": step.task, "state": step.state, "attempts": step.attempts, "exit": step.code}
            error = {} if step.error is None else {"error": _first_line(step.error)}
            self._machine("task", known | {"seconds": round(step.seconds, 3)} | counts | error)
        if not self.quiet and step.state is not State.LEFT_OUT:
            said = f"{step.state} in {step.seconds:.1f} s" if step.attempts else str(step.state)
            numbers = f": {_counts(totals)}" if totals.tables else ""
            self._line(f"{step.task}: {said}{numbers}", _STYLE[step.state])

    def summary(self, report: Report) -> None:
        """The end of a run: what each task did, what waits or failed and what to type next, where the log is."""
        if self.json:
            known = {"job": report.job, "run_id": report.run_id, "exit": report.code, "log": str(report.log)}
            self._machine("run", known | {"seconds": round(report.seconds, 3)})
        elif not self.quiet or report.code:
            self.out.print(summary(report), crop=False)

    def error(self, error: BaseException, *, trace: Path | None = None) -> None:
        """An error that ended the process: what, where, found, expected and what to do, without a stack trace."""
        several = error.errors if isinstance(error, ConfigError) else (error,)
        for one in several:
            text, remedy = in_words(one)
            self.err.print(Text.assemble(("error  ", "bold red"), text), soft_wrap=True)
            if remedy:
                self.err.print(Text(f"       next: {remedy}"), soft_wrap=True)
        if trace:
            self.err.print(Text(f"       the full trace is in {_short(trace)}"), soft_wrap=True)

    def say(self, text: str) -> None:
        """What a person should know while the run goes on."""
        if not self.quiet:
            self._line(text, "yellow")

    def plain(self, text: str) -> None:
        """Text that was asked for: a plan, a list."""
        self.out.print(Text(text), soft_wrap=True)

    def _line(self, text: str, style: str = "") -> None:
        with self._lock:
            stamped = Text.assemble((f"{datetime.now(UTC):%H:%M:%S} ", "dim"), (text, style))
            self.err.print(stamped, soft_wrap=True)

    def _machine(self, event: str, values: dict[str, Any]) -> None:
        with self._lock:
            sys.stdout.write(msgspec.json.encode({"event": event, **values}).decode() + "\n")
            sys.stdout.flush()


def summary(report: Report) -> RenderableType:
    """The closing table of a run and the lines below it."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("task", overflow="fold", min_width=10)  # the one column that gives way
    for name in ("tables", "scopes", "rows in", "rows out", "rejected", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(" result", no_wrap=True)
    for step in report.steps:
        totals = report.totals(step.task)
        seconds = f"{step.seconds:.1f}" if step.attempts else ""
        result = Padding(Text(_result(step, totals), style=_STYLE[step.state]), (0, 0, 0, 1))
        table.add_row(step.task, *_numbers(totals), seconds, result)
    problems = [line for step in report.steps for line in (*_problems(step, report), *_remarks(step, report))]
    if hidden := problems[_SHOWN:]:
        query = f"select * from ops.runs where run_id = '{report.run_id}'"
        problems[_SHOWN:] = [Text(f'and {len(hidden)} more: ./spark-submit.sh sql "{query}"\n')]
    rejected = sum(report.totals(step.task).rows_rejected for step in report.steps)
    look = f"select table_name, rule, reason, file, position from ops.rejects where run_id = '{report.run_id}'"
    log = f"run {report.run_id}, log {_short(report.log)}"
    end = Text(f"{report.job}: {MEANING[report.code]}", style="bold green" if report.code == 0 else "bold yellow")
    exit_note = f" (exit {report.code})" if report.code else ""
    return Group(
        Text(""),
        table,
        Text(""),
        *problems,
        Text.assemble(end, f"{exit_note} in {report.seconds:.1f} s"),
        *(
            [Text(f'rejects: ./spark-submit.sh sql "{look}"', style="dim", no_wrap=True, overflow="ignore")]
            * (rejected > 0)
        ),
        Text(log, style="dim", no_wrap=True, overflow="ignore"),
    )


def in_words(error: BaseException) -> tuple[str, str | None]:
    """What an error says in one line, and what to do about it."""
    if isinstance(error, VarveError):
        return str(error).removesuffix(f". {error.remedy}"), error.remedy
    return _first_line(error), None


def _problems(step: Step, report: Report) -> Iterator[RenderableType]:
    """One paragraph per scope that waits or failed, and one for a task that failed outside its tables."""
    rows = [row for row in report.last_rows(step.task) if row.status in ("parked", "failed")]
    for row in rows:
        where = "  ".join(part for part in (row.task, row.table_name, row.scope) if part)
        unforeseen = step.error is not None and not isinstance(step.error, VarveError) and row.error is not None
        text = row.error or ""
        if unforeseen and step.error is not None and text.startswith(type(step.error).__name__):
            text = _first_line(step.error)
        remedy = row.remedy or (
            f"The full trace is in {_short(report.log.with_suffix('.trace'))}" if unforeseen else None
        )
        yield paragraph(row.status, where, text, remedy or (_AGAIN if step.code == 4 else None))


def _remarks(step: Step, report: Report) -> Iterator[RenderableType]:
    """What an extract left out, or took although it looks old, and why."""
    for row in report.last_rows(step.task):
        if row.step == "extract" and row.scope and row.status in ("done", "skipped") and row.reason != "nothing new":
            where = "  ".join(part for part in (row.task, row.table_name, row.scope) if part)
            if row.reason:
                yield paragraph("note", where, row.reason, None)


def paragraph(status: str, where: str, text: str, remedy: str | None) -> RenderableType:
    """What waits or failed: where, why, and what to do about it."""
    style = {"parked": "yellow", "note": "bold"}.get(status, "bold red")
    lines: list[RenderableType] = [
        Text.assemble((f"{status:<8}", style), where),
        Padding(Text(text), (0, 0, 0, 8), expand=False),
    ]
    if remedy:  # never broken: it holds commands that people copy
        lines.append(Text.assemble("        ", ("next: ", "bold"), remedy, no_wrap=True, overflow="ignore"))
    return Group(*lines, Text(""))


def _numbers(totals: Totals) -> list[str]:
    """Tables, scopes, rows in, rows out, rejected; nothing for a task that touched no table."""
    counts = (totals.tables, totals.scopes, totals.rows_in, totals.rows_out, totals.rows_rejected)
    return [_number(count) if totals.tables else "" for count in counts]


def _number(count: int) -> str:
    """At most nine characters, so that the table keeps to 80 columns."""
    return f"{count:,}" if count < 10_000_000 else f"{count / 1_000_000:,.1f}M"


def _result(step: Step, totals: Totals) -> str:
    parts = [f"{n} {word}" for n, word in ((totals.failed, "failed"), (totals.parked, "parked")) if n]
    tried = f" (try {step.attempts})" if step.attempts > 1 else ""
    if step.state in (State.FAILED, State.PARKED):
        return (", ".join(parts) if totals.tables and parts else str(step.state)) + tried
    return ("nothing new" if step.state is State.DONE and totals.idle else str(step.state)) + tried


def _counts(totals: Totals) -> str:
    rejected = f", {totals.rows_rejected:,} rejected" if totals.rows_rejected else ""
    return f"{totals.rows_in:,} rows in, {totals.rows_out:,} out{rejected}"


def _first_line(error: BaseException) -> str:
    if isinstance(error, VarveError):
        return str(error).partition("\n")[0]
    line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {line[:300]}" if line else type(error).__name__


def _short(path: Path) -> str:
    """The path as seen from the working folder, when it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
