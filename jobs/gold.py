"""Gold: marts, each a pure function of silver, replaced as a whole when one of its inputs has changed."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from varve import codes
from varve.arguments import Parser, launch
from varve.errors import UsageError
from varve.lake import Lake
from varve.marts import fx_rate, gdp_eur
from varve.scope import SCOPE_COLUMNS

# What Power BI's readers know: files without deletion vectors, columns under their own names.
PROPERTIES = {"delta.enableDeletionVectors": "false", "delta.columnMapping.mode": "none"}
KIND = "mart"  # of the note that a commit carries: what the mart was made from


@dataclass(frozen=True, slots=True)
class Mart:
    """inputs: silver tables; lists: code lists it reads; rows: the mart's rows from both."""

    table: str
    inputs: Sequence[str]
    rows: Callable[[Mapping[str, DataFrame], Mapping[str, codes.CodeList]], DataFrame]
    lists: Sequence[str] = ()


MARTS = (
    Mart(
        "fx_rate", fx_rate.INPUTS,
        lambda silver, lists: fx_rate.fx_rate(silver["fx"], fx_rate.fixed_rates(lists[fx_rate.FIXED_RATES])),
        lists=(fx_rate.FIXED_RATES,),
    ),
    Mart("gdp_eur", gdp_eur.INPUTS, lambda silver, _: gdp_eur.gdp_eur(silver["gdp"], silver["fx"])),
)  # fmt: skip


def parser() -> ArgumentParser:
    parser = Parser(description=__doc__)
    parser.add_argument("--table", action="append", metavar="MART", help="only this mart (may be repeated)")
    return parser


def run(lake: Lake, args: Namespace) -> None:
    """Renew the marts whose inputs have changed since they were made; one that fails does not stop the others."""
    names = [mart.table for mart in MARTS]
    if unknown := sorted(set(args.table or ()) - set(names)):
        raise UsageError(f"no mart is called {unknown[0]}", where="--table", expected=", ".join(names))
    for mart in MARTS:
        versions = {table: lake.store.version("silver", table) for table in mart.inputs}
        if mart.table in (args.table or names) and None not in versions.values():
            with lake.ledger.task("gold", f"gold.{mart.table}", keep_going=True) as task:
                task.input(*(f"silver.{table}@{version}" for table, version in versions.items()))
                made_from = {"kind": KIND, "inputs": versions, "made_by": _maker(lake, mart)}
                if made_from == lake.store.last_note("gold", mart.table, KIND):
                    task.skip()
                else:
                    rows = _rows(lake, mart, versions)
                    task.wrote(lake.store.replace(rows, "gold", mart.table, properties=PROPERTIES, note=made_from))


def _rows(lake: Lake, mart: Mart, versions: Mapping[str, int | None]) -> DataFrame:
    """The mart from these versions of silver, in the columns and types of its contract."""
    silver = {table: lake.store.read("silver", table, version=version) for table, version in versions.items()}
    lists = {name: codes.parse(name, _text(lake, name)) for name in mart.lists}
    contract = lake.config.contracts[mart.table]
    columns = [F.col(column.name).cast(column.type).alias(column.name) for column in contract.columns]
    return mart.rows(silver, lists).select(*SCOPE_COLUMNS, *columns).coalesce(1)


def _maker(lake: Lake, mart: Mart) -> str:
    """What besides silver decides the rows: the contract's version and the code lists."""
    texts = [lake.config.contracts[mart.table].version, *(_text(lake, name) for name in mart.lists)]
    return sha256("\0".join(texts).encode()).hexdigest()[:16]


def _text(lake: Lake, name: str) -> str:
    return (lake.config.codes_dir / f"{name}.csv").read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:]))
