"""Kinds of sources: which there are, and the connector of each.

A built-in kind is the module of that name in `varve.connect` or in a folder of it, imported when a source asks for it.
Others come from the modules that the settings name as `connectors`.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Final, Union

from pydantic import Field, TypeAdapter

from varve.config.documents import Document
from varve.config.findings import validated
from varve.config.modules import module_of
from varve.config.problems import did_you_mean, listed
from varve.config.sources import Kind, Source

ROOM: Final = "varve.connect"


@dataclass(slots=True)
class Kinds:
    """The kinds that a configuration may name. is_whole: false when a module could not be imported, so that a kind
    that is not known may be one of its."""

    added: dict[str, Kind] = field(default_factory=dict)
    is_whole: bool = True

    def names(self) -> list[str]:
        """All kinds, sorted."""
        return sorted({*built_in(), *self.added})

    def connector(self, kind: str) -> Kind | None:
        """The connector of a kind, None when there is none."""
        if kind in self.added:
            return self.added[kind]
        module = built_in().get(kind)
        return None if module is None else _only_connector(module)

    def add(self, document: Document, names: tuple[str, ...], folder: Path) -> None:
        """Add the connectors of the modules that the settings in `document` name."""
        for index, name in enumerate(names):
            at = ("connectors", index)
            try:
                module = module_of(name, folder)
                connectors = [_made(found) for found in _connectors(module)]
                if not connectors:
                    raise TypeError(f"no class in it extends {ROOM}.Connector and has a kind")
            except (Exception, SystemExit) as error:  # what a stranger's module does wrong
                self.is_whole = False
                what, found = f"the module {name} cannot be used as a connector", f"{type(error).__name__}: {error}"
                expected = f"a module below {folder}, below {folder / 'lib'} or an installed one"
                document.refuse(at, what, found=found, expected=expected)
                continue
            for connector in connectors:
                if connector.kind in self.names():
                    self.is_whole = False
                    document.refuse(at, f"the kind {connector.kind} is there already", found=f"again in {name}")
                else:
                    self.added[connector.kind] = connector

    def schema(self) -> Mapping[str, Any]:
        """The JSON schema of a source of any kind."""
        models = tuple(connector.source for name in self.names() if (connector := self.connector(name)))
        shape: Any = Annotated[Union[models], Field(discriminator="kind")]  # noqa: UP007
        return TypeAdapter(shape).json_schema()

    def source_in(self, document: Document) -> Source | None:
        """The source that a document describes; None when it is not valid."""
        value = document.value
        if not isinstance(value, dict):
            return validated(document, _shape(Source))
        kind = value.get("kind")
        if kind is None:
            document.refuse((), "the field kind is missing", found=listed(value))
            return None
        connector = self.connector(str(kind))
        if connector is None and self.is_whole:
            what, own = "kind has a value that is not possible", "A kind of your own: name its module under connectors"
            remedy = did_you_mean(str(kind), self.names()) or f"{own} in the settings."
            document.refuse(("kind",), what, found=repr(kind), expected=listed(self.names()), remedy=remedy)
        return None if connector is None else validated(document, _shape(connector.source))


@cache
def built_in() -> Mapping[str, str]:
    """kind -> its module."""
    return dict(_modules(Path(__file__).parents[1] / "connect", ROOM))


def _modules(folder: Path, package: str) -> Iterator[tuple[str, str]]:
    """(name, full name) of the public modules of a package and of the packages in it."""
    for found in pkgutil.iter_modules([str(folder)]):
        if found.ispkg:
            yield from _modules(folder / found.name, f"{package}.{found.name}")
        elif not found.name.startswith("_"):
            yield found.name, f"{package}.{found.name}"


@cache
def _only_connector(module: str) -> Kind:
    [connector] = _connectors(import_module(module))
    return _made(connector)


def _connectors(module: ModuleType) -> list[type[Kind]]:
    """The classes of connectors that a module defines; a class without a kind is a base of others."""
    own = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
    return [value for value in own if inspect.isclass(value) and issubclass(value, Kind) and hasattr(value, "kind")]


def _made(connector: type[Kind]) -> Kind:
    """The connector; raises TypeError for a class that lacks something."""
    kind, source = (getattr(connector, name, None) for name in ("kind", "source"))
    if not isinstance(kind, str) or not (inspect.isclass(source) and issubclass(source, Source)):
        raise TypeError(f"{connector.__name__} needs kind (a text) and source (a class that extends Source)")
    return connector()


@cache
def _shape(source: type[Source]) -> TypeAdapter[Any]:
    return TypeAdapter(source)
