"""What must hold between files: names that lead from one to another, and nothing described twice."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from varve.config.documents import Document, Location
from varve.config.models import NAME
from varve.config.problems import did_you_mean, listed
from varve.config.soundness import add_wrong_sql
from varve.config.sources import Source
from varve.model.contract import Contract, bronze_table

Read = tuple[Document, Contract]


@dataclass(frozen=True, slots=True)
class Crossing:
    """All valid documents of a folder. known: ids of all contracts, valid or not; None: a file was unreadable."""

    sources: Sequence[tuple[Document, Source]]
    contracts: Sequence[Read]
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
            if not has_pseudonym_keys and (personal := [c.name for c in contract.columns if c.personal]):
                document.refuse(
                    (*_column(contract, personal[0]), "name"),
                    "personal columns need a key for their pseudonyms",
                    found=personal[0],
                    expected=f"pseudonyms: {{current: k1, keys: {{k1: ${{env:…}}}}}} in {settings_file}",
                )

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
        named: list[tuple[Document, Location, str, str]] = []
        named += [(d, ("source",), "the source", source.source) for d, source in self.sources]
        named += [(d, ("id",), "the contract", contract.id) for d, contract in self.contracts]
        named += [(d, ("schema", 0, "name"), "the table", f"{c.layer}.{c.table}") for d, c in self.contracts]
        for document, location, kind, name in named:
            if (kind, name) in seen:
                document.refuse(location, f"{kind} {name} is described twice", found=f"first in {seen[kind, name]}")
            seen.setdefault((kind, name), document.shown)


def _add_wrong_datasets(
    document: Document, source: Source, contracts: Mapping[str, Contract], known: frozenset[str] | None
) -> None:
    names: dict[str, str] = {}
    for entry, dataset in source.entries.items():
        at = (source.listed_in, entry)
        name = source.dataset_name(entry)
        if not re.fullmatch(NAME, name):
            document.refuse(
                at,
                f"{entry} gives no possible name of a table",
                found=name or "nothing",
                remedy="List it under another name, with table: <name in the database>.",
            )
        if name in names:
            document.refuse(
                at,
                f"{entry} and {names[name]} give one dataset",
                found=name,
                remedy="List one under another name, with table: <name in the database>.",
            )
        names[name] = entry
        if dataset.scope is None and source.scope is None:
            document.refuse(
                at,
                f"the dataset {entry} has no scope",
                expected="scope: {country: …, entity: …} here or for the whole source",
                remedy="Reference data has _all for both.",
            )
        if known is not None and dataset.contract not in known:
            document.refuse(
                (*at, "contract"),
                f"the dataset {entry} names a contract that is not there",
                found=dataset.contract,
                expected=f"one of {listed(sorted(known))}",
                remedy=did_you_mean(dataset.contract, known),
            )
        contract = contracts.get(dataset.contract)
        table = bronze_table(source.source, name)
        if contract is not None and contract.layer != "bronze":
            document.refuse(
                (*at, "contract"),
                f"{contract.id} is no bronze contract",
                found=f"layer {contract.layer}",
                expected="layer: bronze in its custom property varve",
            )
        elif contract is not None and contract.table != table:
            document.refuse(
                (*at, "contract"),
                f"{contract.id} describes another table",
                found=contract.table,
                expected=f"schema name {table}, that is <source>_<dataset>",
            )


def _add_wrong_feeds(document: Document, contract: Contract, bronze: Mapping[str, Contract], incomplete: bool) -> None:
    """incomplete: some contracts could not be read, so a bronze table that is not there may be one of theirs."""
    at = (*_facts(document), "feeds")
    if contract.feeds and contract.layer != "silver":
        document.refuse(at, "only silver tables have feeds", found=f"layer {contract.layer}")
        return
    for index, feed in enumerate(contract.feeds):
        place = (*at, index)
        if feed.bronze in {other.bronze for other in contract.feeds[:index]}:
            document.refuse((*place, "bronze"), f"the bronze table {feed.bronze} feeds {contract.table} twice")
        fed_by = bronze.get(feed.bronze)
        if fed_by is None:
            if not incomplete:
                document.refuse(
                    (*place, "bronze"),
                    "the feed names a bronze table that is not there",
                    found=feed.bronze,
                    expected=f"one of {listed(sorted(bronze))}",
                    remedy=did_you_mean(feed.bronze, bronze),
                )
            continue
        for silver, column in feed.columns.items():
            if silver not in contract.names:
                document.refuse(
                    (*place, "columns", silver),
                    f"{silver} is no column of {contract.table}",
                    expected=f"one of {listed(contract.names)}",
                    remedy=did_you_mean(silver, contract.names),
                )
            if column not in fed_by.names:
                document.refuse(
                    (*place, "columns", silver),
                    f"{column} is no column of {feed.bronze}",
                    expected=f"one of {listed(fed_by.names)}",
                    remedy=did_you_mean(column, fed_by.names),
                )
    rule = contract.history.deleted_when if contract.history else None
    if rule is not None:
        parts = (
            [bronze[feed.bronze] for feed in contract.feeds if feed.bronze in bronze] if contract.feeds else [contract]
        )
        columns = sorted({name for part in parts for name in part.names}) if len(parts) >= len(contract.feeds) else None
        add_wrong_sql(document, (*_facts(document), "history", "deleted_when"), rule, columns)


def _add_unordered_snapshots(document: Document, contract: Contract, pictured: Mapping[str, str]) -> None:
    """pictured: bronze tables that are loaded from snapshots -> the file of their source."""
    if contract.history is None or contract.history.domain != "sequence":
        return
    for index, feed in enumerate(contract.feeds):
        if feed.bronze in pictured:
            document.refuse(
                (*_facts(document), "feeds", index, "bronze"),
                f"{contract.table} is ordered by a sequence, and snapshots have none",
                found=f"{feed.bronze} with mode: snapshot in {pictured[feed.bronze]}",
                expected="mode: changes for files, mode: incremental for a database",
                remedy="Or order it by time: leave domain: sequence out.",
            )


def _add_missing_codes(document: Document, contract: Contract, codes_dir: Path) -> None:
    lists = sorted(path.stem for path in codes_dir.glob("*.csv"))
    for index, column in enumerate(contract.columns):
        if column.codes is not None and column.codes not in lists:
            entries = document.value["schema"][0]["properties"][index]["customProperties"]
            place = next(i for i, entry in enumerate(entries) if entry["property"] == "codes")
            document.refuse(
                ("schema", 0, "properties", index, "customProperties", place),
                f"the code list of {column.name} is not there",
                found=column.codes,
                expected=f"{codes_dir.name}/{column.codes}.csv; there are {listed(lists)}",
                remedy=did_you_mean(column.codes, lists),
            )


def _facts(document: Document) -> tuple[str | int, ...]:
    entries = document.value["schema"][0].get("customProperties", ())
    index = next((i for i, entry in enumerate(entries) if entry["property"] == "varve"), 0)
    return ("schema", 0, "customProperties", index, "value")


def _column(contract: Contract, name: str) -> tuple[str | int, ...]:
    return ("schema", 0, "properties", contract.names.index(name))
