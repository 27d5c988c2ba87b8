"""What must hold between files: names that lead from one to another, and nothing described twice."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from varve.config.checks.expressions import add_wrong_sql
from varve.config.documents import Document, Place
from varve.config.problems import among, did_you_mean, listed
from varve.config.sources import Source
from varve.model.contract import Contract, bronze_table
from varve.model.fields import NAME


@dataclass(frozen=True, slots=True)
class Crossing:
    """All valid documents of a folder, those of contracts arranged like them. known: ids of all contracts, valid or
    not; None: a file was unreadable."""

    sources: Sequence[tuple[Document, Source]]
    contracts: Sequence[tuple[Document, Contract]]
    known: frozenset[str] | None
    codes_dir: Path

    def add_wrong(self, has_pseudonym_keys: bool, settings_file: str) -> None:
        """Everything that does not fit together."""
        self._add_twins()
        contracts = {contract.id: contract for _, contract in self.contracts}
        for document, source in self.sources:
            _add_wrong_datasets(document, source, contracts, self.known)
        bronze = {contract.table: contract for contract in contracts.values() if contract.layer == "bronze"}
        pictured = self._pictured()
        for document, contract in self.contracts:
            _add_wrong_feeds(document, contract, bronze, self.known is None or bool(self.known - contracts.keys()))
            _add_unordered_snapshots(document, contract, pictured)
            _add_missing_codes(document, contract, self.codes_dir)
            personal = [(index, column.name) for index, column in enumerate(contract.columns) if column.personal]
            if personal and not has_pseudonym_keys:
                (index, name), what = personal[0], "personal columns need a key for their pseudonyms"
                expected = f"pseudonyms: {{current: k1, keys: {{k1: ${{env:…}}}}}} in {settings_file}"
                document.refuse(("columns", index, "name"), what, found=name, expected=expected)

    def _pictured(self) -> dict[str, str]:
        """Bronze tables that are loaded from snapshots -> the file of their source."""
        return {
            bronze_table(source.source, source.dataset_name(entry)): document.shown
            for document, source in self.sources
            for entry, options in source.entries.items()
            if options.mode == "snapshot"
        }

    def _add_twins(self) -> None:
        seen: dict[tuple[str, str], str] = {}
        named: list[tuple[Document, Place, str, str]] = []
        named += [(d, ("source",), "the source", source.source) for d, source in self.sources]
        named += [(d, ("id",), "the contract", contract.id) for d, contract in self.contracts]
        named += [(d, ("table",), "the table", f"{c.layer}.{c.table}") for d, c in self.contracts]
        for document, place, kind, name in named:
            if (kind, name) in seen:
                document.refuse(place, f"{kind} {name} is described twice", found=f"first in {seen[kind, name]}")
            seen.setdefault((kind, name), document.shown)


def _add_wrong_datasets(
    document: Document, source: Source, contracts: Mapping[str, Contract], known: frozenset[str] | None
) -> None:
    names: dict[str, str] = {}
    for entry, dataset in source.entries.items():
        at: Place = (source.listed_in, entry)
        name = source.dataset_name(entry)
        if not re.fullmatch(NAME, name):
            remedy = "List it under another name, with table: <name in the database>."
            document.refuse(at, f"{entry} gives no possible name of a table", found=name or "nothing", remedy=remedy)
        if name in names:
            remedy = "List one under another name, with table: <name in the database>."
            document.refuse(at, f"{entry} and {names[name]} give one dataset", found=name, remedy=remedy)
        names[name] = entry
        if dataset.scope is None and source.scope is None:
            expected = "scope: {country: …, entity: …} here or for the whole source"
            remedy = "Reference data has _all for both."
            document.refuse(at, f"the dataset {entry} has no scope", expected=expected, remedy=remedy)
        at = (*at, "contract")
        if known is not None and dataset.contract not in known:
            what = f"the dataset {entry} names a contract that is not there"
            document.refuse(at, what, found=dataset.contract, **among(dataset.contract, sorted(known)))
        contract, table = contracts.get(dataset.contract), bronze_table(source.source, name)
        if contract is not None and contract.layer != "bronze":
            expected = "layer: bronze in its custom property varve"
            what = f"{contract.id} is no bronze contract"
            document.refuse(at, what, found=f"layer {contract.layer}", expected=expected)
        elif contract is not None and contract.table != table:
            expected = f"schema name {table}, that is <source>_<dataset>"
            document.refuse(at, f"{contract.id} describes another table", found=contract.table, expected=expected)


def _add_wrong_feeds(document: Document, contract: Contract, bronze: Mapping[str, Contract], incomplete: bool) -> None:
    """incomplete: some contracts could not be read, so a bronze table that is not there may be one of theirs."""
    if contract.feeds and contract.layer != "silver":
        document.refuse(("feeds",), "only silver tables have feeds", found=f"layer {contract.layer}")
        return
    for index, feed in enumerate(contract.feeds):
        at: Place = ("feeds", index, "bronze")
        if feed.bronze in {other.bronze for other in contract.feeds[:index]}:
            document.refuse(at, f"the bronze table {feed.bronze} feeds {contract.table} twice")
        if feed.bronze not in bronze and not incomplete:
            what = "the feed names a bronze table that is not there"
            document.refuse(at, what, found=feed.bronze, **among(feed.bronze, sorted(bronze)))
        if feed.bronze in bronze:
            for silver, column in feed.columns.items():
                at = ("feeds", index, "columns", silver)
                for name, owner in ((silver, contract), (column, bronze[feed.bronze])):
                    if name not in owner.names:
                        document.refuse(at, f"{name} is no column of {owner.table}", **among(name, owner.names))
    if contract.history and contract.history.deleted_when is not None:
        parts = [bronze[f.bronze] for f in contract.feeds if f.bronze in bronze] if contract.feeds else [contract]
        columns = sorted({name for part in parts for name in part.names}) if len(parts) >= len(contract.feeds) else None
        add_wrong_sql(document, ("history", "deleted_when"), contract.history.deleted_when, columns)


def _add_unordered_snapshots(document: Document, contract: Contract, pictured: Mapping[str, str]) -> None:
    """pictured: bronze tables that are loaded from snapshots -> the file of their source."""
    if contract.history is None or contract.history.domain != "sequence":
        return
    for index, feed in enumerate(contract.feeds):
        if feed.bronze in pictured:
            document.refuse(
                ("feeds", index, "bronze"), f"{contract.table} is ordered by a sequence, and snapshots have none",
                found=f"{feed.bronze} with mode: snapshot in {pictured[feed.bronze]}",
                expected="mode: changes for files, mode: incremental for a database",
                remedy="Or order it by time: leave domain: sequence out.",
            )  # fmt: skip


def _add_missing_codes(document: Document, contract: Contract, codes_dir: Path) -> None:
    lists = sorted(path.stem for path in codes_dir.glob("*.csv"))
    for index, column in enumerate(contract.columns):
        if column.codes is not None and column.codes not in lists:
            expected = f"{codes_dir.name}/{column.codes}.csv; there are {listed(lists)}"
            what, remedy = f"the code list of {column.name} is not there", did_you_mean(column.codes, lists)
            document.refuse(("columns", index, "codes"), what, found=column.codes, expected=expected, remedy=remedy)
