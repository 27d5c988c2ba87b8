"""A look at a lake and at a run, as people and as programs read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from varve.run.console import paragraph
from varve.status.facts import Done, Extract, Failure, Freshness, Next, OneRun, PastRun, Status

_STYLE: Final[Mapping[str, str]] = {
    "done": "green", "nothing new": "green", "committed": "green", "parked": "yellow", "running": "cyan",
    "failed": "bold red", "killed": "bold red", "late": "bold red", "fresh": "green",
}  # fmt: skip
_SHOWN: Final = 20  # [paragraphs] of one kind
_NAMED: Final = 10  # [extracts] of one table


def page(status: Status, step: Next | None) -> RenderableType:
    """All that was found, and what to do next."""
    head = Text(f"{status.lake} at {_time(status.at)} UTC\n", no_wrap=True, overflow="ignore")
    parts: list[RenderableType] = [head]
    parts += _titled("datasets", [_datasets(status.datasets)] if status.datasets else [])
    parts += _titled("waits", [_waiting(status)] if status.waiting else [])
    parts += _titled("parked", list(_parked(status)))
    parts += _titled("failed", list(_failed(status.failures)))
    parts += _titled("at work", [_held(status)] if status.held else [])
    parts += _titled("last runs", [_runs(status.runs)] if status.runs else [])
    return Group(*parts, *_next(step))


def status_records(status: Status, step: Next | None) -> Iterator[dict[str, Any]]:
    """The same as values for JSON, each with its `event`."""
    yield {"event": "lake", "lake": status.lake, "at": status.at}
    parts: Mapping[str, Sequence[Any]] = {
        "dataset": status.datasets, "waiting": status.waiting, "parked": status.parked, "failure": status.failures,
        "lease": status.held,
    }  # fmt: skip
    for event, found in parts.items():
        yield from ({"event": event, **asdict(one)} for one in found)
    for run in status.runs:
        yield _run_record(run)
    yield {"event": "next", **(asdict(step) if step else {"do": None, "why": "nothing to do"})}


def run_page(found: OneRun) -> RenderableType:
    """What a run did."""
    run = found.run
    began = f", began {_time(run.began_at)} UTC, {run.end} "
    head = Text.assemble((f"run {run.id}", "bold"), f" ({run.job}){began}after {run.seconds:.1f} s")
    return Group(head, Text(""), *(part for one in found.done for part in _done(one)))


def run_records(found: OneRun) -> Iterator[dict[str, Any]]:
    """The same as values for JSON, each with its `event`."""
    yield _run_record(found.run)
    yield from ({"event": "table", **asdict(one)} for one in found.done)


def _run_record(run: PastRun) -> dict[str, Any]:
    return {"event": "run", **asdict(run), "seconds": round(run.seconds, 3)}


# --- the page -------------------------------------------------------------------------------------------------


def _titled(title: str, parts: Sequence[RenderableType]) -> list[RenderableType]:
    """A part of the page, if there is anything; a blank line ends it, as it ends every paragraph."""
    if not parts:
        return []
    end = [Text("")] if isinstance(parts[-1], Table) else []
    return [Text(title, style="bold"), *parts, *end]


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    """The first column gives way where there is no room."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for place, name in enumerate(columns):
        justify, folds = ("right" if name in right else "left"), place == 0
        table.add_column(name, justify=justify, no_wrap=not folds, overflow="fold", min_width=12 if folds else None)  # type: ignore[arg-type]
    return table


def _datasets(datasets: Sequence[Freshness]) -> Table:
    table = _table("dataset", "extracts", "landed (UTC)", "for", "", right=["extracts"])
    for one in sorted(datasets, key=lambda one: not one.late):
        landed = "never" if one.landed_at is None else _time(one.landed_at)
        table.add_row(one.table, f"{one.extracts:,}", landed, one.declared or "", _freshness(one))
    return table


def _freshness(one: Freshness) -> Text:
    if one.due is None:
        return Text("")
    said = "late" if one.late else "fresh"
    return Text.assemble((said, _STYLE[said]), f", due {one.due:%m-%d %H:%M}")


def _waiting(status: Status) -> Table:
    table = _table("table", "scope", "extracts", "since (UTC)", "", right=["extracts"])
    for one in status.waiting:
        stopped = "after parked" if one.stopped else ""
        table.add_row(one.table, one.scope, f"{one.extracts:,}", _time(one.since), stopped)
    return table


def _parked(status: Status) -> Iterator[RenderableType]:
    for one in status.parked[:_SHOWN]:
        since = "" if one.since is None else f"since {_time(one.since)}"
        yield paragraph("parked", _joined(one.table, one.scope, since), one.why, one.remedy)
    if more := status.parked[_SHOWN:]:
        yield Text(f"and {len(more)} more: --table narrows, --json lists all\n")


def _failed(failures: Sequence[Failure]) -> Iterator[RenderableType]:
    for one in failures[:_SHOWN]:
        how = "failed" if one.how == "unreadable" else one.how
        tables = ", ".join(one.tables[:5]) + (f" and {len(one.tables) - 5} more" if len(one.tables) > 5 else "")
        run = f"run {one.run_id} ({one.job})" if one.run_id else ""
        yield paragraph(how, _joined(tables, run), one.error, one.remedy)
    if more := failures[_SHOWN:]:
        yield Text(f"and {len(more)} more: --table narrows, --json lists all\n")


def _held(status: Status) -> Table:
    table = _table("lease", "job", "process", "since (UTC)", "run")
    for one in status.held:
        table.add_row(one.name, one.job, f"{one.pid} on {one.host}", _time(one.since), one.run_id)
    return table


def _runs(runs: Sequence[PastRun]) -> Table:
    table = _table("run", "job", "began (UTC)", "seconds", "ended", right=["seconds"])
    for run in runs:
        table.add_row(run.id, run.job, _time(run.began_at), f"{run.seconds:.1f}", Text(run.end, style=_STYLE[run.end]))
    return table


def _next(step: Next | None) -> Iterator[RenderableType]:
    if step is None:
        yield Text("next: nothing to do", style="bold green")
        return
    yield Text.assemble(("next: ", "bold"), step.do, no_wrap=True, overflow="ignore")  # never broken: to be copied
    yield Padding(Text(step.why, style="dim"), (0, 0, 0, 6), expand=False)


# --- a run ----------------------------------------------------------------------------------------------------


def _done(one: Done) -> Iterator[RenderableType]:
    where = _joined(one.table or one.task, one.scope, "" if one.step == one.task.partition("[")[0] else one.step)
    yield Text.assemble((f"{one.end:<11}", _STYLE.get(one.end, "dim")), where, no_wrap=True, overflow="ignore")
    rows = f"{one.rows_in:,} rows in, {one.rows_out:,} out, {one.rows_rejected:,} rejected, {one.seconds:.1f} s"
    words = [] if one.end in ("skipped", "committed", "killed", "running") else [rows]
    if one.version_after is not None:
        before = "none" if one.version_before is None else one.version_before
        words.append(f"version {before} to {one.version_after}")
    lines = [", ".join(words), _named(one.extracts), one.error or "", one.remedy or ""]
    for line in filter(None, lines):
        yield Padding(Text(line), (0, 0, 0, 11), expand=False)


def _named(extracts: Sequence[Extract]) -> str:
    dates = (f"({one.declared})" if one.declared else None for one in extracts)
    names = [_joined(one.file or f"extract {one.id}", date) for one, date in zip(extracts, dates, strict=True)]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _joined(*parts: str | None) -> str:
    return " ".join(part for part in parts if part)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
