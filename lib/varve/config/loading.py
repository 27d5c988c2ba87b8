"""Reads a configuration folder whole, before any session opens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from varve.config.checks.crossing import Crossing
from varve.config.checks.flow import add_wrong_flow
from varve.config.checks.transforms import Fitting, imported
from varve.config.contracts import read_contract
from varve.config.documents import Document, read_document
from varve.config.findings import validated
from varve.config.jobs import JobGraph, JobsFile
from varve.config.kinds import Kinds
from varve.config.problems import Problem, Problems, did_you_mean, listed
from varve.config.settings import Settings
from varve.config.sources import Dataset, Kind, Source, absolute
from varve.model.contract import Contract
from varve.model.errors import ConfigError
from varve.transforms import NONE, Transforms

_SETTINGS: Final = TypeAdapter(Settings)
_JOBS: Final = TypeAdapter(JobsFile)


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
            raise ConfigError(
                f"no contract describes {layer}.{table}", where=str(self.directory / "contracts"),
                expected=", ".join(sorted(tables)) or "at least one contract",
            )  # fmt: skip
        return tables[table]


def load(conf_dir: Path, *, env: str = "local", lake: str | None = None) -> Config:
    """The configuration in `conf_dir`, whole and valid, or a ConfigError that reports everything found.

    env: which settings file (`<env>.yml`) holds; an absent local.yml means defaults. lake: overrides settings.lake,
    and is relative to the current folder. Relative paths in the files (lake, root, database) are resolved against the
    folder that holds `conf_dir`.
    """
    if not conf_dir.is_dir():
        raise ConfigError(
            "there is no configuration", where=str(conf_dir), expected="a folder with sources, contracts and jobs"
        )
    folder = _Folder(conf_dir.absolute(), Problems())
    kinds = Kinds()
    settings, document = folder.settings(env, lake, kinds)
    has_keys = settings.pseudonyms is not None or bool(folder.problems.found)  # broken settings are one error, not two
    sources = folder.sources(kinds)
    contracts, known = folder.contracts()
    graphs = folder.graphs()
    crossing = Crossing(sources, contracts, known, folder.path / "codes")
    crossing.add_wrong(has_keys, folder.shown(folder.path / f"{env}.yml"))
    transforms = folder.transforms(settings, document, contracts, known)
    folder.problems.raise_any()
    return Config(
        directory=folder.path,
        env=env,
        settings=settings,
        sources={source.source: source.resolved(folder.path.parent) for _, source in sources},
        contracts={contract.id: contract for _, contract in contracts},
        graphs=graphs,
        connectors={source.kind: found for _, source in sources if (found := kinds.connector(source.kind))},
        transforms=transforms,
    )


def job_graphs(conf_dir: Path) -> Mapping[str, JobGraph]:
    """The job graphs of a configuration folder alone."""
    folder = _Folder(conf_dir.absolute(), Problems())
    graphs = folder.graphs()
    folder.problems.raise_any()
    return graphs


@dataclass(frozen=True, slots=True)
class _Folder:
    """A conf folder that is being read."""

    path: Path
    problems: Problems

    def shown(self, path: Path) -> str:
        """A path as messages show it: from where the person stands, when it lies below."""
        return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)

    def documents(self, part: str, *endings: str) -> Iterator[Document]:
        """The readable YAML files of a part of the folder, by name; one that ends otherwise is a problem."""
        for path in sorted((self.path / part).glob("*.y*ml")):
            if not path.name.endswith(endings):
                self.problems.add(Problem(self.shown(path), None, "the file's name is not possible", found=path.name,
                                          expected=" or ".join(f"*{ending}" for ending in endings)))  # fmt: skip
            elif document := read_document(path, self.shown(path), self.problems):
                yield document

    def settings(self, env: str, lake: str | None, kinds: Kinds) -> tuple[Settings, Document | None]:
        """The settings of the environment, with an absolute lake, and the document that says them. kinds: gets those
        that the settings name."""
        path = self.path / f"{env}.yml"
        settings, document = Settings(), None
        if path.exists():
            document = read_document(path, self.shown(path), self.problems)
            kinds.is_whole = document is not None and (found := validated(document, _SETTINGS)) is not None
            if document is not None and found is not None:
                settings = found
                self._refuse_local_keys(document, settings, env, lake)
                kinds.add(document, settings.connectors, self.path.parent)
        elif env != "local":
            environments = sorted({"local", *(p.stem for p in self.path.glob("*.yml"))})
            self.problems.add(Problem(self.shown(path), None, f"the environment {env} has no settings",
                                      found="no such file", expected=f"one of {listed(environments)}",
                                      remedy=did_you_mean(env, environments)))  # fmt: skip
        settings = settings.for_local_use() if env == "local" else settings
        root = absolute(settings.lake, self.path.parent) if lake is None else lake
        return settings.in_lake(root if "://" in root else str(Path(root).absolute())), document

    def _refuse_local_keys(self, document: Document, settings: Settings, env: str, lake: str | None) -> None:
        for version, secret in (settings.pseudonyms.keys if settings.pseudonyms else {}).items():
            if secret.kind == "local" and (env != "local" or "://" in (lake or settings.lake)):
                place, what = ("pseudonyms", "keys", version), "a key in the lake is for one machine only"
                expected = "${env:NAME}, ${file:/path} or ${databricks:scope/key}"
                document.refuse(place, what, found=secret.reference, expected=expected)

    def sources(self, kinds: Kinds) -> list[tuple[Document, Source]]:
        documents = self.documents("sources", ".yml", ".yaml")
        return [(document, source) for document in documents if (source := kinds.source_in(document))]

    def contracts(self) -> tuple[list[tuple[Document, Contract]], frozenset[str] | None]:
        """The valid contracts, and the ids of all that were found; None when a file could not be read."""
        found: list[tuple[Document, Contract]] = []
        known: set[str] = set()
        before = len(self.problems.found)
        documents = list(self.documents("contracts", ".odcs.yaml", ".odcs.yml"))
        all_were_read = len(self.problems.found) == before
        for document in documents:
            if isinstance(document.value, dict):
                known.add(str(document.value.get("id")))
            if read := read_contract(document):
                found.append(read)
        return found, frozenset(known) if all_were_read else None

    def graphs(self) -> dict[str, JobGraph]:
        graphs: dict[str, JobGraph] = {}
        for document in self.documents("jobs", ".yml", ".yaml"):
            file = validated(document, _JOBS)
            for name, graph in (file.resources.jobs if file else {}).items():
                if name in graphs:
                    document.refuse(("resources", "jobs", name), f"the job {name} is described twice")
                add_wrong_flow(document, name, graph)
                graphs[name] = graph
        return graphs

    def transforms(
        self,
        settings: Settings,
        document: Document | None,
        contracts: Sequence[tuple[Document, Contract]],
        known: frozenset[str] | None,
    ) -> Transforms:
        """The company's functions, imported and held against the contracts, when these are all there to compare."""
        before = len(self.problems.found)
        found = imported(settings.transforms, self.path.parent, document, self.problems, self.shown)
        tables: dict[str, dict[str, Contract]] = {}
        for _, contract in contracts:
            tables.setdefault(contract.layer, {})[contract.table] = contract
        if len(self.problems.found) > before or known is None or len(known) > len(contracts):
            return NONE
        return Fitting(found, tables, self.path / "codes", self.problems, self.shown).transforms()
