"""History: the life of one key, every version with when it was valid, when we learned it, from which file and run."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from rich.console import Console

from varve.model.errors import UsageError
from varve.model.scope import Scope
from varve.run.cli import Parser, launch, moment
from varve.run.run import Run
from varve.silver.keys import key_of
from varve.silver.life import changes_table, life_of, life_records, versions_table


def parser() -> Parser:
    """The options of the job."""
    parser = Parser(description=__doc__, epilog="Example: history --table gdp --key country_code=ESP --key year=1998")
    parser.add_argument("--table", required=True, metavar="ENTITY")
    parser.add_argument(
        "--key", required=True, action="append", metavar="[COLUMN=]VALUE", help="one per key column of the entity"
    )
    parser.add_argument("--scope", type=Scope.parse, metavar="COUNTRY/ENTITY", help="default: wherever the key occurs")
    parser.add_argument(
        "--known-at", type=moment, metavar="TIME",
        help="as it was believed then: a day or a time, UTC where it names no offset",
    )  # fmt: skip
    parser.add_argument("--changes", action="store_true", help="also what the log holds: every statement that arrived")
    return parser


def run(run: Run, args: Namespace) -> None:
    """Print the versions of a key, never stale, oldest first."""
    contract = run.config.silver_contract(args.table)
    if not run.store.exists("silver", f"{args.table}_changes"):
        raise UsageError("nothing was loaded yet", where=f"silver.{args.table}", remedy="./spark-submit.sh daily")
    key = key_of(contract.keys, args.key)
    life = life_of(run, contract, key, args.scope, known_at=args.known_at)
    if args.json:
        for record in life_records(life):
            print(json.dumps(record, default=str))
        return
    console = Console(width=None if sys.stdout.isatty() else 240, highlight=False)
    named = ", ".join(f"{column} = {value}" for column, value in key.items())
    if args.known_at is not None:
        named += f", as known at {args.known_at:%Y-%m-%d %H:%M:%S}"
    if life.versions:
        console.print(versions_table(f"silver.{args.table}: {named}", life))
    else:
        console.print(f"silver.{args.table} knows no {named}.")
    if args.changes:
        console.print(changes_table(life))


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:], writes=False))
