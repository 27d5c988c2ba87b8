"""Status: what is fresh, late, waits, is parked or failed, who is at work, what a run loaded, and what to do next."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from rich.console import Console, RenderableType

from varve import status
from varve.run.cli import Parser, launch
from varve.run.run import Run

WIDE = 160  # [characters] a file or a pipe has no edge
EXIT = """\
exit codes: 0 whatever it finds, because a look does not fail. With --strict, for monitoring:
  0  all is well; what only waits for its job counts as well
  3  something is parked and waits for a person
  4  something failed, was killed, is late, or cannot be read; also when something else is parked"""


def parser() -> Parser:
    """The options of the job."""
    parser = Parser(description=__doc__, epilog=EXIT)
    parser.add_argument("--table", metavar="TABLE", help="only this dataset, entity (with what feeds it) or mart")
    parser.add_argument("--run", metavar="ID", help="what this run loaded, table by table")
    parser.add_argument("--strict", action="store_true", help="end with 3 or 4 when all is not well, see below")
    return parser


def run(run: Run, args: Namespace) -> None:
    """Look and print; nothing is written, no session is opened."""
    if args.run:
        found = status.one_run(run, args.run, table=args.table)
        show(status.run_page(found), status.run_records(found), args)
        return
    seen = status.look(run, now=datetime.now(UTC), table=args.table)
    step = status.next_step(seen)
    show(status.page(seen, step), status.status_records(seen, step), args)
    if args.strict and (problem := status.verdict(seen, step)):
        raise problem


def show(page: RenderableType, records: Iterable[object], args: Namespace) -> None:
    """On the screen, or as JSON lines. A task of a graph has neither --json nor --quiet."""
    if getattr(args, "json", False):
        for record in records:
            print(msgspec.json.encode(record).decode())
    elif not getattr(args, "quiet", False):
        Console(width=None if sys.stdout.isatty() else WIDE, highlight=False).print(page, crop=False)


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:], writes=False))
