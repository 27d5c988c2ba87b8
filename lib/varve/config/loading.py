"""Reads a configuration folder whole, before any session opens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from varve.config.contracts import read_contract
from varve.config.crossing import Crossing
from varve.config.documents import Document, read_document
from varve.config.findings import validated
from varve.config.jobs import JobGraph, JobsFile, add_wrong_flow
from varve.config.kinds import Kinds
from varve.config.problems import Problems, among
from varve.config.settings import Settings
from varve.config.sources import Dataset, Kind, Source
from varve.config.transforms import Fitting, imported
from varve.model.contract import Contract
from varve.model.errors import ConfigError
from varve.transforms import NONE, Transforms


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that `conf/` says. directory: the conf folder; codes_dir: its `codes`; env: the environment's name;
    connectors: those of the kinds that the sources are of; transforms: the company's own functions, which belong to
    this configuration and not to the process."""

    directory: Path
    env: str
    settings: Settings
    sources: Mapping[str, Source]
    contracts: Mapping[str, Contract]
    graphs: Mapping[str, JobGraph]
    connectors: Mapping[str, Kind]
    transforms: Transforms = NONE

    @property
    def codes_dir(self) -> Path:
        return self.directory / "codes"

    def datasets(self) -> Iterator[Dataset]:
        """The datasets of every source, in the order of the sources' names."""
        for _, source in sorted(self.sources.items()):
            for entry, options in source.entries.items():
                scope = options.scope or source.scope
                assert scope is not None  # refused when the configuration was read
                name, contract = source.dataset_name(entry), self.contracts[options.contract]
                yield Dataset(source, name, options, scope, contract, self.connectors[source.kind])

    def bronze_contract(self, table: str) -> Contract:
        """The contract of the bronze table `<source>_<dataset>`."""
        return self._contract("bronze", table)

    def silver_contract(self, entity: str) -> Contract:
        """The contract of the silver entity."""
        return self._contract("silver", entity)

    def gold_contract(self, table: str) -> Contract:
        """The contract of the mart."""
        return self._contract("gold", table)

    def entities(self) -> tuple[str, ...]:
        """Names of the silver entities, sorted."""
        return tuple(sorted(c.table for c in self.contracts.values() if c.layer == "silver"))

    def _contract(self, layer: str, table: str) -> Contract:
        tables = {c.table: c for c in self.contracts.values() if c.layer == layer}
        if table not in tables:
            where, expected = str(self.directory / "contracts"), ", ".join(sorted(tables)) or "at least one contract"
            raise ConfigError(f"no contract describes {layer}.{table}", where=where, expected=expected)
        return tables[table]


def load(conf_dir: Path, *, env: str = "local", lake: str | None = None) -> Config:
    """The configuration in `conf_dir`, whole and valid, or a ConfigError that reports everything found.

    env: which settings file (`<env>.yml`) holds; an absent local.yml means defaults. lake: overrides settings.lake,
    and is relative to the current folder. Relative paths in the files (lake, root, database) are resolved against the
    folder that holds `conf_dir`.
    """
    if not conf_dir.is_dir():
        expected = "a folder with sources, contracts and jobs"
        raise ConfigError("there is no configuration", where=str(conf_dir), expected=expected)
    folder = _Folder(conf_dir.absolute())
    kinds = Kinds()
    document, found = folder.settings(env, kinds)
    settings = (found or Settings()).completed(folder.path.parent, env, lake)
    if document and found:
        _refuse_local_keys(document, found, env, settings.lake)
    sources = [(one, source) for one in folder.documents("sources") if (source := kinds.source_in(one))]
    contracts, is_whole = folder.contracts()
    graphs = folder.graphs()
    codes = sorted(path.stem for path in (folder.path / "codes").glob("*.csv"))
    # settings that are not valid are one error, not two
    Crossing(sources, contracts, is_whole, codes).add_wrong(
        settings.pseudonyms is not None or found is None, folder.path / f"{env}.yml"
    )
    before = len(folder.problems.found)
    functions, transforms = imported(settings.transforms, folder.path.parent, document, folder.problems), NONE
    if is_whole and len(folder.problems.found) == before:
        transforms = Fitting(functions, [contract for _, contract in contracts], codes, folder.problems).transforms()
    folder.problems.raise_any()
    return Config(
        directory=folder.path,
        env=env,
        settings=settings,
        sources={source.source: source.resolved(folder.path.parent) for _, source in sources},
        contracts={contract.id: contract for _, contract in contracts},
        graphs=graphs,
        connectors={source.kind: kinds.connector(source.kind) for _, source in sources},
        transforms=transforms,
    )


def job_graphs(conf_dir: Path) -> Mapping[str, JobGraph]:
    """The job graphs of a configuration folder alone."""
    folder = _Folder(conf_dir.absolute())
    graphs = folder.graphs()
    folder.problems.raise_any()
    return graphs


def _refuse_local_keys(document: Document, settings: Settings, env: str, lake: str) -> None:
    for version, secret in (settings.pseudonyms.keys if settings.pseudonyms else {}).items():
        if secret.kind == "local" and (env != "local" or "://" in lake):
            place, what = ("pseudonyms", "keys", version), "a key in the lake is for one machine only"
            expected = "${env:NAME}, ${file:/path} or ${databricks:scope/key}"
            document.refuse(place, what, found=secret.reference, expected=expected)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A conf folder that is being read."""

    path: Path
    problems: Problems = field(default_factory=Problems)

    def documents(self, part: str, *endings: str) -> Iterator[Document]:
        """The readable YAML files of a part of the folder, by name; one that ends otherwise is a problem."""
        endings = endings or (".yml", ".yaml")
        for path in sorted((self.path / part).glob("*.y*ml")):
            if not path.name.endswith(endings):
                expected = " or ".join(f"*{ending}" for ending in endings)
                self.problems.add(path, None, "the file's name is not possible", found=path.name, expected=expected)
            elif document := read_document(path, self.problems):
                yield document

    def settings(self, env: str, kinds: Kinds) -> tuple[Document | None, Settings | None]:
        """The document of the environment's settings, and what it says; None when it is not valid. An absent local.yml
        says nothing. kinds: gets those that the settings name."""
        path = self.path / f"{env}.yml"
        if not path.exists():
            known = sorted({"local", *(p.stem for p in self.path.glob("*.yml"))})
            if env not in known:
                what, expected = f"the environment {env} has no settings", among(env, known)
                self.problems.add(path, None, what, found="no such file", **expected)
            return None, Settings() if env == "local" else None
        document = read_document(path, self.problems)
        settings = validated(document, Settings) if document else None
        kinds.is_whole = settings is not None
        if document and settings:
            kinds.add(document, settings.connectors, self.path.parent)
        return document, settings

    def contracts(self) -> tuple[list[tuple[Document, Contract]], bool]:
        """The valid contracts, and whether these are all that were found."""
        before = len(self.problems.found)
        documents = self.documents("contracts", ".odcs.yaml", ".odcs.yml")
        contracts = [read for document in documents if (read := read_contract(document))]
        return contracts, len(self.problems.found) == before

    def graphs(self) -> dict[str, JobGraph]:
        """The job graphs by their names."""
        graphs: dict[str, JobGraph] = {}
        for document in self.documents("jobs"):
            file = validated(document, JobsFile)
            for name, graph in (file.resources.jobs if file else {}).items():
                if name in graphs:
                    document.refuse(("resources", "jobs", name), f"the job {name} is described twice")
                add_wrong_flow(document, name, graph)
                graphs[name] = graph
        return graphs
