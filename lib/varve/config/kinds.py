"""Kinds of sources: which there are, and the connector of each.

A built-in kind is the module of that name in `varve.connect` or in a folder of it, imported when a source asks for it.
Others come from the modules that the settings name as `connectors`.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

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

    def connector(self, kind: str) -> Kind:
        """The connector of one of these kinds."""
        return self.added[kind] if kind in self.added else _connectors(import_module(built_in()[kind]))[0]

    def add(self, document: Document, names: tuple[str, ...], folder: Path) -> None:
        """Add the connectors of the modules that the settings in `document` name."""
        before = len(document.problems.found)
        for index, name in enumerate(names):
            at = ("connectors", index)
            try:
                connectors = _connectors(module_of(name, folder))
                if not connectors:
                    raise TypeError(f"no class in it extends {ROOM}.Connector and has a kind")
                for connector in connectors:
                    if connector.kind in self.names():
                        document.refuse(at, f"the kind {connector.kind} is there already", found=f"again in {name}")
                    self.added.setdefault(connector.kind, connector)
            except (Exception, SystemExit) as error:  # what a stranger's module does wrong
                what, found = f"the module {name} cannot be used as a connector", f"{type(error).__name__}: {error}"
                expected = f"a module below {folder}, below {folder / 'lib'} or an installed one"
                document.refuse(at, what, found=found, expected=expected)
        self.is_whole = len(document.problems.found) == before

    def source_in(self, document: Document) -> Source | None:
        """The source that a document describes; None when it is not valid."""
        value = document.value
        if not isinstance(value, dict):
            return validated(document, Source)
        if value.get("kind") is None:
            document.refuse((), "the field kind is missing", found=listed(value))
            return None
        kind, known = str(value["kind"]), self.names()
        if kind in known:
            return validated(document, self.connector(kind).source)
        if self.is_whole:
            own = "A kind of your own: name its module under connectors in the settings."
            what, remedy = "kind has a value that is not possible", did_you_mean(kind, known) or own
            document.refuse(("kind",), what, found=repr(value["kind"]), expected=listed(known), remedy=remedy)
        return None


@cache
def built_in() -> Mapping[str, str]:
    """kind -> its module."""
    folder = Path(__file__).parents[1] / "connect"
    found = pkgutil.walk_packages([str(folder)], f"{ROOM}.")
    return {one.name.rpartition(".")[2]: one.name for one in found if not one.ispkg and "._" not in one.name}


def _connectors(module: ModuleType) -> list[Kind]:
    """The connectors that a module defines; a class without a kind is a base of others.

    Raises TypeError for a class that lacks something."""
    found = []
    for value in vars(module).values():
        is_own = inspect.isclass(value) and value.__module__ == module.__name__
        if is_own and issubclass(value, Kind) and hasattr(value, "kind"):
            source = getattr(value, "source", None)
            if not isinstance(value.kind, str) or not (inspect.isclass(source) and issubclass(source, Source)):
                raise TypeError(f"{value.__name__} needs kind (a text) and source (a class that extends Source)")
            found.append(value())
    return found
