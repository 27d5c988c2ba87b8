"""Systems and folders -> raw files. Runs beside the source too: no Spark in here."""

from __future__ import annotations

from pathlib import Path

from varve.config import Dataset, FilesDataset, FilesSource, Source, SqliteSource, SqliteTable
from varve.contract import Contract
from varve.errors import DefectError
from varve.extract import files, sqlite
from varve.extract.takes import Plan, Take
from varve.raw import Publisher

__all__ = ["Plan", "Take", "plan"]


def plan(
    publisher: Publisher,
    source: Source,
    name: str,
    dataset: Dataset,
    contract: Contract,
    *,
    root: Path | None = None,
    expected: bool = False,
) -> Plan:
    """What of the dataset is new, to be called and landed under `raw.publishing`.

    root: the folder to read instead of the configured one; expected: a source that is not there
    is an error even when nothing ever came from it.
    """
    if isinstance(source, FilesSource) and isinstance(dataset, FilesDataset):
        folder = root or Path(source.root)
        return files.plan(publisher, source.source, folder, name, dataset, contract, expected=expected)
    if isinstance(source, SqliteSource) and isinstance(dataset, SqliteTable):
        return sqlite.plan(publisher, source, name, dataset, contract, expected=expected)
    raise DefectError("no way to extract this", where=f"{source.source}.{name}", found=type(dataset).__name__)
