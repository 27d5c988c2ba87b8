"""Ask the lake in SQL: every table is there as layer.name. Without a query: list the tables."""

from __future__ import annotations

import csv
import sys
from argparse import Namespace
from itertools import islice

from rich.console import Console
from rich.table import Table
from rich.text import Text

from varve.model.errors import UsageError
from varve.query import Answer, ask, tables
from varve.run.cli import Parser, launch, moment
from varve.run.run import Run

CELL = 60  # [characters] what of a longer value is shown in a table
SHOWN = 100  # [rows] of a table on the screen
WIDE = 10_000  # [characters] a file or a pipe has no edge


def parser() -> Parser:
    parser = Parser(description=__doc__, epilog='Example: sql "select * from gold.fx_rate limit 5" --format csv')
    parser.add_argument("query", nargs="?", help="SELECT, WITH, DESCRIBE, SHOW or EXPLAIN; - reads it from stdin")
    parser.add_argument("--format", choices=("table", "csv", "json"), help="default: table; json: one object per line")
    parser.add_argument(
        "--limit", type=int, metavar="N", help=f"at most N rows (default: {SHOWN} in a table, else all)"
    )
    parser.add_argument(
        "--as-of", type=moment, metavar="TIME",
        help="entities of silver as they were then: a day or a time, UTC where it names no offset",
    )  # fmt: skip
    return parser


def run(run: Run, args: Namespace) -> None:
    if args.limit is not None and args.limit < 0:
        raise UsageError("a limit is not negative", where="--limit", found=args.limit)
    if args.query is None:
        print("\n".join(tables(run.root)) or f"There is no table in {run.root}.")
        return
    query = sys.stdin.read() if args.query == "-" else args.query
    shape = args.format or ("json" if args.json else "table")
    if shape == "table":
        shown = SHOWN if args.limit is None else args.limit
        answer = ask(lambda: run.spark, run.root, query, limit=shown + 1, as_of=args.as_of)
        show(answer, shown, given=args.limit is not None)
    elif shape == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        answer = ask(lambda: run.spark, run.root, query, limit=args.limit, as_of=args.as_of)
        writer.writerow(name for name, _ in answer.columns)
        writer.writerows(answer.rows)
    else:
        for (line,) in ask(lambda: run.spark, run.root, query, limit=args.limit, as_json=True, as_of=args.as_of).rows:
            print(line)


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


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:], writes=False))
