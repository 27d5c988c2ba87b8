"""Maintain: expire what the contracts do not keep, put small files together, delete the files that nobody needs."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import UTC, date, datetime, time, timedelta

from varve.history_table import horizon
from varve.model.errors import UsageError
from varve.run.cli import Parser, launch
from varve.run.run import Run
from varve.silver import EntityLoad
from varve.silver.inputs import code_lists, pseudonym_key
from varve.silver.maintain import maintain


def parser() -> Parser:
    """The options of the job."""
    parser = Parser(description=__doc__)
    parser.add_argument("--table", action="append", metavar="ENTITY", help="only this entity (may be repeated)")
    parser.add_argument(
        "--expire-before", type=date.fromisoformat, metavar="YYYY-MM-DD",
        help="give up the history before that day (UTC), instead of by retain.history; there is no way back",
    )  # fmt: skip
    parser.add_argument(
        "--keep-days", type=int, metavar="N", help="keep files of older versions of the tables so long (default: 7)"
    )
    return parser


def run(run: Run, args: Namespace) -> None:
    """Maintain every entity; one that fails does not stop the others."""
    now = datetime.now(UTC)
    before = datetime.combine(args.expire_before, time(), UTC) if args.expire_before else None
    if before is not None and before > now:
        raise UsageError(
            "what is to come cannot expire", where="--expire-before", found=args.expire_before, expected="a day gone by"
        )
    lists, key = code_lists(run), pseudonym_key(run)
    keep = None if args.keep_days is None else timedelta(days=args.keep_days)
    for entity in args.table or run.config.entities():
        contract = run.config.silver_contract(entity)
        retain = contract.retain.get("history")
        moment = before or (horizon.since(retain, now) if retain else None)
        load = EntityLoad(run, contract, lists=lists, key=key)
        with run.lease(load.table) as held:
            maintain(load, held, moment, said=before is not None, keep=keep)


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:]))
