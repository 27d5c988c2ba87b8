"""An answer on the screen."""

from __future__ import annotations

import sys
from itertools import islice
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from varve.query.ask import Answer

CELL: Final = 60  # [characters] what of a longer value is shown in a table
SHOWN: Final = 100  # [rows] of a table on the screen
WIDE: Final = 10_000  # [characters] a file or a pipe has no edge


def show(answer: Answer, shown: int, *, given: bool) -> None:
    """A table on the screen, or one block per row where the table is wider than the screen; then what was left out."""
    console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)
    rows = list(islice(answer.rows, shown + 1))
    more, rows = len(rows) > shown, rows[:shown]
    cells = [[_cell(value) for value in row] for row in rows]
    table = Table()
    for name, is_number in answer.columns:
        table.add_column(Text(name), justify="right" if is_number else "left", no_wrap=True)
    for row in cells:
        table.add_row(*row)
    if not cells or console.measure(table).minimum <= console.width:
        console.print(table)
    else:
        width = max(len(name) for name, _ in answer.columns)
        for number, row in enumerate(cells, start=1):
            console.rule(f"row {number}", align="left")
            for (name, _), cell in zip(answer.columns, row, strict=True):
                console.print(Text(f"{name:<{width}}  ").append_text(cell), soft_wrap=True)
    notes = [f"{len(rows)} {'row' if len(rows) == 1 else 'rows'}"]
    if more and not given:
        notes.append("there are more: --limit N shows them")
    if any(value is not None and len(value) > CELL for row in rows for value in row):
        notes.append(f"values cut at {CELL} characters: --format csv or json has them whole")
    console.print("; ".join(notes), style="dim", soft_wrap=True)


def _cell(value: str | None) -> Text:
    if value is None:
        return Text("null", style="dim italic")
    whole = value.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t")
    return Text(whole if len(whole) <= CELL else whole[: CELL - 1] + "…")
