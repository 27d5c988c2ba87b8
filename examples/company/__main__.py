"""`python -m examples.company --out DIR`: make the embedded company, or deliver the days that are missing."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from examples.company.company import Company, make


def main(argv: Sequence[str]) -> int:
    """Returns 0, or 2 if the arguments or the folder do not fit."""
    parser = argparse.ArgumentParser(prog="python -m examples.company", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the company")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--days", type=int, default=6, help="how many days the company lives")
    parser.add_argument("--until-day", type=int, help="deliver only up to this day; again with a later one adds days")
    parser.add_argument("--scale", type=int, default=1, help="multiplies the rows")
    parser.add_argument("--with-bad-extract", action="store_true", help="day 5 brings a third of Italy's debtors")
    args = parser.parse_args(argv)
    company_days = min(args.days, args.until_day or args.days)
    try:
        made = make(args.out, Company(args.seed, args.scale, args.with_bad_extract), until_day=company_days)
    except ValueError as error:
        print(f"company: {error}", file=sys.stderr)
        return 2
    print(f"{args.out}: days 1 to {made.until_day}, {made.files} new files")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
