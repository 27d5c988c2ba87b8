"""The embedded company: a small living business with known answers, so that every flow can be seen on a fresh machine.

It is written beside `conf` once; a later run leaves it as it is, or adds the days that are asked for. Where no source
of the configuration reads its folder, it is not written.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from varve.config import Config
from varve.model.errors import UsageError
from varve.run.cli import Parser, launch
from varve.run.run import Run

PROJECT = Path(__file__).resolve().parents[1]  # the generator is no part of the package


def parser() -> Parser:
    """The options of the job; what is not said stays as the company that is there already has it."""
    parser = Parser(description=__doc__)
    parser.add_argument("--out", type=Path, metavar="DIR", help="its folder (default: company, beside conf)")
    parser.add_argument("--seed", type=int, help="another seed is another company (default: 7)")
    parser.add_argument("--scale", type=int, help="multiplies the rows (default: 1)")
    parser.add_argument("--days", type=int, help="how many days it has delivered (default: 6)")
    parser.add_argument("--with-bad-extract", action="store_true", default=None, help="day 5 brings a cut extract")
    return parser


def run(run: Run, args: Namespace) -> None:
    """Deliver the days that are not there yet."""
    out = args.out or run.config.directory.parent / "company"
    if args.out is None and not is_read(run.config, out):
        return
    deliver(out, args)


def is_read(config: Config, out: Path) -> bool:
    """Whether a source of the configuration lies in that folder."""
    places = (value for source in config.sources.values() for _, value in source if isinstance(value, str))
    return any(Path(place).is_relative_to(out) for place in places)


def deliver(out: Path, args: Namespace) -> None:
    """Write what the company delivers, and its answer book."""
    if not (PROJECT / "examples" / "company").is_dir():
        remedy = "It is no part of the package: run it in a checkout of the project."
        raise UsageError("the embedded company is not here", where=str(PROJECT / "examples"), remedy=remedy)
    if str(PROJECT) not in sys.path:
        sys.path.append(str(PROJECT))
    from examples.company import Company, existing, make

    there = existing(out)
    known, days = there or (Company(), 6)
    try:
        company = Company(
            seed=known.seed if args.seed is None else args.seed,
            scale=known.scale if args.scale is None else args.scale,
            with_bad_extract=known.with_bad_extract if args.with_bad_extract is None else args.with_bad_extract,
        )
        make(out, company, until_day=days if args.days is None else args.days)
    except ValueError as error:
        raise UsageError(str(error), where="company") from error


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:]))
