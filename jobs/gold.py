"""Gold: the company's marts, each replaced as a whole when its inputs, contract, code lists or code have changed."""

from __future__ import annotations

import sys
from argparse import Namespace

from varve.gold import marts
from varve.run.cli import Parser, launch
from varve.run.run import Run


def parser() -> Parser:
    """The options of the job."""
    parser = Parser(description=__doc__)
    parser.add_argument("--table", action="append", metavar="MART", help="only this mart (may be repeated)")
    return parser


def run(run: Run, args: Namespace) -> None:
    """Renew the marts; one that fails stops only what reads it."""
    marts.load_mart(run, args.table or ())


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:]))
