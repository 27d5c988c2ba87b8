"""History: the life of one key, every version with when it was valid, when we learned it, and from which file."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from datetime import datetime

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table
from rich.text import Text

from varve import raw
from varve.arguments import Parser, launch
from varve.errors import UsageError
from varve.history_table import HistoryTable
from varve.lake import Lake
from varve.raw import Manifest
from varve.scope import SCOPE_COLUMNS, Scope


def parser() -> Parser:
    """The options of the job."""
    parser = Parser(description=__doc__, epilog="Example: history --table gdp --key country_code=ESP --key year=1998")
    parser.add_argument("--table", required=True, metavar="ENTITY")
    parser.add_argument(
        "--key", required=True, action="append", metavar="[COLUMN=]VALUE", help="one per key column of the entity"
    )
    parser.add_argument("--scope", type=Scope.parse, metavar="COUNTRY/ENTITY", help="default: wherever the key occurs")
    parser.add_argument("--changes", action="store_true", help="also what the log holds: every statement that arrived")
    return parser


def run(lake: Lake, args: Namespace) -> None:
    """Print the versions of a key, never stale, oldest first."""
    contract = lake.config.silver_contract(args.table)
    history = HistoryTable.of(lake.store, contract)
    if not lake.store.exists(history.layer, history.log_table):
        raise UsageError("nothing was loaded yet", where=f"silver.{args.table}", remedy="./spark-submit.sh daily")
    wanted = _wanted(contract.keys, args.key)
    manifests = {
        m.id: m
        for feed in contract.feeds
        for source, name, _ in lake.config.datasets()
        if f"{source.source}_{name}" == feed.bronze
        for m in raw.manifests(lake.root, source.source, name)
    }
    log = _of_key(history.log(), wanted, args.scope).persist()
    opened = log.select("valid_from", *SCOPE_COLUMNS, "manifest").groupBy("valid_from", *SCOPE_COLUMNS)
    versions = _of_key(history.read(), wanted, args.scope).join(
        opened.agg(F.min("manifest").alias("manifest")), ["valid_from", *SCOPE_COLUMNS], "left"
    )
    rows = versions.orderBy(*SCOPE_COLUMNS, "valid_from").collect()
    names = history.policy.payload
    if args.json:
        for row in rows:
            print(json.dumps(row.asDict(recursive=True), default=str))
        return
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    if not rows:
        console.print(f"silver.{args.table} knows no {wanted}.")
    else:
        title = f"silver.{args.table}: {', '.join(f'{c} = {v}' for c, v in wanted.items())}"
        console.print(_versions(title, rows, names, manifests))
    if args.changes:
        console.print(_statements(log.orderBy("valid_from", "sequence", "recorded_at").collect(), names, manifests))


def _wanted(keys: tuple[str, ...], given: list[str]) -> dict[str, str]:
    """The value of every key column; names may be left out when the values come in the order of the key."""
    found: dict[str, str] = {}
    for place, text in enumerate(given):
        name, equals, value = text.partition("=")
        if not equals:
            name, value = (keys[place] if place < len(keys) else "?"), text
        found[name] = value
    if set(found) != set(keys):
        raise UsageError(
            "that is not the key of the entity", where="--key", found=", ".join(given), expected=", ".join(keys)
        )
    return found


def _of_key(frame: DataFrame, wanted: dict[str, str], scope: Scope | None) -> DataFrame:
    for column, value in wanted.items():
        frame = frame.filter(F.col(column) == F.lit(value).cast(frame.schema[column].dataType))
    if scope is not None:
        frame = frame.filter((F.col("scope_country") == scope.country) & (F.col("scope_entity") == scope.entity))
    return frame


def _versions(title: str, rows: list[Row], names: tuple[str, ...], manifests: dict[str, Manifest]) -> Table:
    table = Table(
        "scope", "valid from", "valid to", "state", *names, "learned", "from", title=title, title_justify="left"
    )
    before: Row | None = None
    for row in rows:
        state = "deleted" if row.is_deleted else "current" if row.is_current else ""
        cells = [_cell(row[c], changed=before is not None and before[c] != row[c]) for c in names]
        source = _source(row.manifest, manifests)
        table.add_row(
            _scope(row), _time(row.valid_from), _time(row.valid_to), state, *cells, _time(row.recorded_at), source
        )
        before = row
    return table


def _statements(rows: list[Row], names: tuple[str, ...], manifests: dict[str, Manifest]) -> Table:
    table = Table("scope", "at", "sequence", "says", *names, "learned", "from", title="the log", title_justify="left")
    for row in rows:
        cells = [_cell(row[c]) for c in names]
        place = (_scope(row), _time(row.valid_from), str(row.sequence if row.sequence is not None else ""), row.op)
        table.add_row(*place, *cells, _time(row.recorded_at), _source(row.manifest, manifests))
    return table


def _cell(value: object, *, changed: bool = False) -> Text:
    if value is None:
        return Text("null", style="dim italic")
    return Text(str(value), style="bold yellow" if changed else "")


def _scope(row: Row) -> str:
    return f"{row.scope_country}/{row.scope_entity}"


def _time(moment: datetime | None) -> str:
    if moment is None:
        return ""
    text = f"{moment:%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".")
    return text.removesuffix(" 00:00:00")


def _source(manifest: str | None, manifests: dict[str, Manifest]) -> str:
    """The file that a manifest stands for, the manifest's name when raw no longer has it."""
    if manifest is None:
        return ""
    found = manifests.get(manifest.partition("@")[0])
    return found.origin.path if found else manifest


if __name__ == "__main__":
    sys.exit(launch(run, parser, sys.argv[1:], writes=False))
