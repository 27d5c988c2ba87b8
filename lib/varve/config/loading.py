"""Reads a configuration folder whole, before any session opens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from varve.config.contracts import ColumnFacts, TableFacts, contract_of, custom
from varve.config.documents import Document, read_document
from varve.config.jobs import JobGraph, JobsFile
from varve.config.problems import Problem, Problems
from varve.config.settings import Settings
from varve.config.sources import AnySource, Dataset, FilesSource, Source
from varve.contract import Contract
from varve.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that `conf/` says. directory: the conf folder; codes_dir: its `codes`; env: the environment's name."""

    directory: Path
    env: str
    settings: Settings
    sources: Mapping[str, Source]
    contracts: Mapping[str, Contract]
    graphs: Mapping[str, JobGraph]

    @property
    def codes_dir(self) -> Path:
        return self.directory / "codes"

    def datasets(self) -> Iterator[tuple[Source, str, Dataset]]:
        """(source, dataset name, dataset with its scope) of every source, in the order of their names."""
        for _, source in sorted(self.sources.items()):
            for name, dataset in source.named.items():
                yield source, name, dataset

    def bronze_contract(self, table: str) -> Contract:
        """The contract of the bronze table `<source>_<dataset>`."""
        return self._contract("bronze", table)

    def silver_contract(self, entity: str) -> Contract:
        """The contract of the silver entity."""
        return self._contract("silver", entity)

    def entities(self) -> tuple[str, ...]:
        """Names of the silver entities, sorted."""
        return tuple(sorted(c.table for c in self.contracts.values() if c.layer == "silver"))

    def _contract(self, layer: str, table: str) -> Contract:
        tables = {c.table: c for c in self.contracts.values() if c.layer == layer}
        if table not in tables:
            raise ConfigError(
                f"no contract describes {layer}.{table}", where=str(self.directory / "contracts"),
                expected=", ".join(sorted(tables)) or "at least one contract",
            )  # fmt: skip
        return tables[table]


def load(conf_dir: Path, *, env: str = "local", lake: str | None = None) -> Config:
    """The configuration in `conf_dir`, whole and valid, or a ConfigError that reports everything found.

    env: which settings file (`<env>.yml`) holds; an absent local.yml means defaults. lake: overrides settings.lake.
    Relative paths (lake, root, database) are resolved against the folder that holds `conf_dir`.
    """
    conf_dir = conf_dir.absolute()
    problems = Problems()
    settings = Settings()
    path = conf_dir / f"{env}.yml"
    if path.exists():
        document = read_document(path, str(path), problems)
        if document:
            settings = Settings.model_validate(document.value)
    if env == "local":
        settings = settings.for_local_use()
    root = lake or settings.lake
    settings = settings.model_copy(update={"lake": root if "://" in root else str(conf_dir.parent / root)})
    if settings.pseudonyms is not None and "://" not in settings.lake:
        keys = {k: s.in_lake(Path(settings.lake)) for k, s in settings.pseudonyms.keys.items()}
        settings = settings.model_copy(update={"pseudonyms": settings.pseudonyms.model_copy(update={"keys": keys})})
    sources: dict[str, Source] = {}
    for path in sorted((conf_dir / "sources").glob("*.yml")):
        document = read_document(path, str(path), problems)
        if document:
            source = AnySource.validate_python(document.value)
            field = "root" if isinstance(source, FilesSource) else "database"
            source = source.model_copy(update={field: str(conf_dir.parent / getattr(source, field))})
            sources[source.source] = source
    contracts: dict[str, Contract] = {}
    for path in sorted((conf_dir / "contracts").glob("*.odcs.yaml")):
        document = read_document(path, str(path), problems)
        if document:
            table = document.value["schema"][0]
            facts = TableFacts.model_validate(custom(table.get("customProperties")).get("varve", {}))
            columns = {
                c["name"]: ColumnFacts.model_validate(
                    {k: v for k, v in custom(c.get("customProperties")).items() if k in ColumnFacts.model_fields}
                )
                for c in table["properties"]
            }
            contract = contract_of(document.value, facts, columns)
            contracts[contract.id] = contract
    graphs: dict[str, JobGraph] = {}
    for path in sorted((conf_dir / "jobs").glob("*.yml")):
        document = read_document(path, str(path), problems)
        if document:
            graphs.update(JobsFile.model_validate(document.value).resources.jobs)
    problems.raise_any()
    return Config(conf_dir, env, settings, sources, contracts, graphs)
