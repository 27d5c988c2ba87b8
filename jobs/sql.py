"""Ask the lake in SQL: every table is there as layer.name. Without a query: list the tables."""

from __future__ import annotations

import csv
import sys
from argparse import Namespace

from varve.model.errors import UsageError
from varve.query import ask, tables
from varve.query.show import SHOWN, show
from varve.run.cli import Parser, launch, moment
from varve.run.run import Run


def parser() -> Parser:
    """The options of the job."""
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
    """Print the answer to a query, or the tables."""
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


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:], writes=False))
