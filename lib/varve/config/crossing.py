"""What must hold between files: names that lead from one to another, and nothing described twice."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from varve.config.documents import Document, Place
from varve.config.problems import from_here, listed, repeated
from varve.config.soundness import add_wrong_sql
from varve.config.sources import Source
from varve.model.contract import Contract, bronze_table
from varve.model.fields import NAME


@dataclass(frozen=True, slots=True)
class Crossing:
    """All valid documents of a folder, those of contracts arranged like them, and the names of its code lists.

    is_whole: all contracts are valid; else one that is not there may be one of the others."""

    sources: Sequence[tuple[Document, Source]]
    contracts: Sequence[tuple[Document, Contract]]
    is_whole: bool
    codes: Collection[str]

    def add_wrong(self, has_pseudonym_keys: bool, settings_file: Path) -> None:
        """Everything that does not fit together."""
        named = [*self._named()]
        for index, first in repeated([what for _, _, what in named]):
            document, place, what = named[index]
            document.refuse(place, f"{what} is described twice", found=f"first in {from_here(named[first][0].path)}")
        by_id = {contract.id: contract for _, contract in self.contracts}
        bronze = {contract.table: contract for contract in by_id.values() if contract.layer == "bronze"}
        for document, source in self.sources:
            self._add_wrong_datasets(document, source, by_id)
        for document, contract in self.contracts:
            self._add_wrong_feeds(document, contract, bronze)
            for index, column in enumerate(contract.columns):
                if column.codes is not None:
                    place, what = ("columns", index, "codes"), f"the code list of {column.name} is not there"
                    expected = f"codes/{column.codes}.csv; there are {listed(self.codes)}"
                    document.refuse_unknown(place, what, column.codes, self.codes, expected=expected)
            personal = [(index, column.name) for index, column in enumerate(contract.columns) if column.personal]
            if personal and not has_pseudonym_keys:
                (index, name), what = personal[0], "personal columns need a key for their pseudonyms"
                expected = f"pseudonyms: {{current: k1, keys: {{k1: ${{env:…}}}}}} in {from_here(settings_file)}"
                document.refuse(("columns", index, "name"), what, found=name, expected=expected)

    def _named(self) -> Iterator[tuple[Document, Place, str]]:
        for document, source in self.sources:
            yield document, ("source",), f"the source {source.source}"
        for document, contract in self.contracts:
            yield document, ("id",), f"the contract {contract.id}"
            yield document, ("table",), f"the table {contract.layer}.{contract.table}"

    def _add_wrong_datasets(self, document: Document, source: Source, contracts: Mapping[str, Contract]) -> None:
        entries = [*source.entries]
        names = [source.dataset_name(entry) for entry in entries]
        remedy = "another name, with table: <name in the database>."
        for index, first in repeated(names):
            what = f"{entries[index]} and {entries[first]} give one dataset"
            document.refuse(
                (source.listed_in, entries[index]), what, found=names[index], remedy=f"List one under {remedy}"
            )
        for name, (entry, dataset) in zip(names, source.entries.items(), strict=True):
            at: Place = (source.listed_in, entry)
            if not re.fullmatch(NAME, name):
                what = f"{entry} gives no possible name of a table"
                document.refuse(at, what, found=name or "nothing", remedy=f"List it under {remedy}")
            if dataset.scope is None and source.scope is None:
                what, expected = (
                    f"the dataset {entry} has no scope",
                    "scope: {country: …, entity: …} here or for the whole source",
                )
                document.refuse(at, what, expected=expected, remedy="Reference data has _all for both.")
            at, contract, table = (*at, "contract"), contracts.get(dataset.contract), bronze_table(source.source, name)
            if contract is None and self.is_whole:
                what = f"the dataset {entry} names a contract that is not there"
                document.refuse_unknown(at, what, dataset.contract, sorted(contracts))
            elif contract and contract.layer != "bronze":
                what, expected = f"{contract.id} is no bronze contract", "layer: bronze in its custom property varve"
                document.refuse(at, what, found=f"layer {contract.layer}", expected=expected)
            elif contract and contract.table != table:
                expected = f"schema name {table}, that is <source>_<dataset>"
                document.refuse(at, f"{contract.id} describes another table", found=contract.table, expected=expected)

    def _add_wrong_feeds(self, document: Document, contract: Contract, bronze: Mapping[str, Contract]) -> None:
        feeds, history = [feed.bronze for feed in contract.feeds], contract.history
        if feeds and contract.layer != "silver":
            document.refuse(("feeds",), "only silver tables have feeds", found=f"layer {contract.layer}")
            return
        for index, _ in repeated(feeds):
            what = f"the bronze table {feeds[index]} feeds {contract.table} twice"
            document.refuse(("feeds", index, "bronze"), what)
        for index, feed in enumerate(contract.feeds):
            if self.is_whole:
                place: Place = ("feeds", index, "bronze")
                what = "the feed names a bronze table that is not there"
                document.refuse_unknown(place, what, feed.bronze, sorted(bronze))
            for silver, column in feed.columns.items() if feed.bronze in bronze else ():
                for name, owner in ((silver, contract), (column, bronze[feed.bronze])):
                    place, what = ("feeds", index, "columns", silver), f"{name} is no column of {owner.table}"
                    document.refuse_unknown(place, what, name, owner.names, found=None)
        if history and history.deleted_when is not None:
            parts = [bronze[table] for table in feeds if table in bronze] if feeds else [contract]
            columns = sorted({name for part in parts for name in part.names}) if len(parts) >= len(feeds) else None
            add_wrong_sql(document, ("history", "deleted_when"), history.deleted_when, columns)
        for source, table in self._snapshots() if history and history.domain == "sequence" else ():
            if table in feeds:
                document.refuse(
                    ("feeds", feeds.index(table), "bronze"),
                    f"{contract.table} is ordered by a sequence, and snapshots have none",
                    found=f"{table} with mode: snapshot in {from_here(source.path)}",
                    expected="mode: changes for files, mode: incremental for a database",
                    remedy="Or order it by time: leave domain: sequence out.",
                )

    def _snapshots(self) -> Iterator[tuple[Document, str]]:
        """Bronze tables that are loaded from snapshots, after the document of their source."""
        for document, source in self.sources:
            for entry, options in source.entries.items():
                if options.mode == "snapshot":
                    yield document, bronze_table(source.source, source.dataset_name(entry))
