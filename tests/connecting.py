"""Datasets of a source that a test writes itself, and what one run of their connector lands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from varve import raw
from varve.config import Dataset, Source
from varve.connect import Connector, Plan
from varve.connect.database.sqlite import Sqlite
from varve.connect.files import FilesConnector
from varve.model.contract import Contract
from varve.raw import Manifest
from varve.storage import open_files

CONNECTORS: Mapping[str, Connector] = {"files": FilesConnector(), "sqlite": Sqlite()}
FIXED = {"country": "ES", "entity": "iberia1"}


def files(root: Path, **options: object) -> Source:
    """A folder with the one dataset `d`."""
    options = {"contract": "s_d", "scope": FIXED, "path": "**/*", "format": "csv", **options}
    return FilesConnector.source.model_validate(
        {"source": "s", "kind": "files", "root": str(root), "datasets": {"d": options}}
    )


def sqlite(database: str, *, scope: Mapping[str, object] = FIXED, date: str | None = None, **options: object) -> Source:
    """A database with the one dataset `d`, which is the table T."""
    return Sqlite.source.model_validate({
        "source": "s", "kind": "sqlite", "database": database, "scope": scope, "declared_date": date,
        "tables": {"d": {"contract": "s_d", "table": "T", **options}},
    })  # fmt: skip


def dataset_of(source: Source, contract: Contract) -> Dataset:
    """The only dataset of a source."""
    [(entry, options)] = source.entries.items()
    scope = options.scope or source.scope
    assert scope is not None
    return Dataset(source, source.dataset_name(entry), options, scope, contract, CONNECTORS[source.kind])


def raw_of(lake: Path | str) -> raw.RawDataset:
    """The extracts of the dataset `d` of the source `s` in a lake: a folder, or the URL of a store."""
    return raw.RawDataset(open_files(str(lake)), "s", "d")


def planned(lake: Path | str, dataset: Dataset, *, expected: bool = False) -> Plan:
    """What one run would land."""
    with raw.publishing(raw_of(lake)) as publisher:
        return CONNECTORS[dataset.system.kind].plan(dataset, publisher, expected=expected)


def landed(lake: Path | str, dataset: Dataset) -> list[Manifest]:
    """What one run lands, in its order."""
    with raw.publishing(raw_of(lake)) as publisher:
        plan = CONNECTORS[dataset.system.kind].plan(dataset, publisher, expected=False)
        return [found for take in plan.takes if (found := take.land()) is not None]
