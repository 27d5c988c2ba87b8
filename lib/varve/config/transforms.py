"""The company's transforms: what its modules declare, held against the contracts and code lists that they name."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Final

from varve.config.documents import Document
from varve.config.modules import Imported, beside, import_all, module_spec
from varve.config.problems import Problems, among, from_here, listed, repeated
from varve.model.contract import Contract
from varve.transforms import Conforming, Declared, Mart, Transforms

DEFAULT: Final = "transforms"  # what a configuration has that names no modules, if it lies beside conf


def imported(names: Sequence[str] | None, folder: Path, document: Document | None, problems: Problems) -> Imported:
    """What the modules declare that the settings name. folder: the one that holds conf; document: the settings."""
    if names is None or document is None:
        default = beside(folder, DEFAULT)
        return import_all([default] if default else [], problems)
    specs = []
    for index, name in enumerate(names):
        if name in sys.stdlib_module_names or name == "varve":
            document.refuse(("transforms", index), f"{name} is no module of the company", found=name)
        elif spec := module_spec(folder, name):
            specs.append(spec)
        else:
            expected = f"{from_here(folder / name)}, {from_here(folder / 'lib' / name)} or an installed package"
            document.refuse(("transforms", index), f"the module {name} is not there", expected=expected)
    return import_all(specs, problems)


@dataclass(frozen=True, slots=True)
class Fitting:
    """Holds what was declared against the rest of the configuration."""

    imported: Imported
    contracts: Sequence[Contract]
    codes: Collection[str]
    problems: Problems

    def transforms(self) -> Transforms:
        """The functions, when nothing is wrong with them; what is wrong is noted."""
        before, declared = len(self.problems.found), self.imported.declared
        conforming = [one for one in declared if isinstance(one, Conforming)]
        marts = [replace(one, code=self.imported.code(one.place.file)) for one in declared if isinstance(one, Mart)]
        names = [f"gold.{one.table}" if isinstance(one, Mart) else f"{one.entity} from {one.feed}" for one in declared]
        for index, first in repeated(names):
            place = declared[first].place
            found = f"first in {from_here(Path(place.file))}:{place.line}"
            self._refuse(declared[index], f"{names[index]} has two functions", found=found)
        silver, gold = (sorted(c.table for c in self.contracts if c.layer == layer) for layer in ("silver", "gold"))
        for one in conforming:
            what = f"no contract describes silver.{one.entity}"
            self._refuse_unknown(one, what, one.entity, silver, found=None)
            for contract in self.contracts:
                if (contract.layer, contract.table) == ("silver", one.entity):
                    what, feeds = f"the contract of {one.entity} has no such feed", [f.bronze for f in contract.feeds]
                    self._refuse_unknown(one, what, one.feed, feeds)
                    self._add_wrong_signature(one, ["the bronze rows"])
        inputs = [*(f"silver.{name}" for name in silver), *sorted(f"gold.{mart.table}" for mart in marts)]
        for mart in marts:
            what = f"no contract describes gold.{mart.table}"
            self._refuse_unknown(mart, what, mart.table, gold, found=None)
            for table in mart.reads:
                self._refuse_unknown(mart, f"the mart {mart.table} reads what is not there", table, inputs)
            for name in mart.codes:
                self._refuse_unknown(mart, f"the code list {name} is not there", name, self.codes, found=None)
            self._add_wrong_signature(mart, [*mart.reads, *mart.codes])
        ordered = self._ordered(marts) if len(self.problems.found) == before else ()
        return Transforms({(one.entity, one.feed): one for one in conforming}, ordered)

    def _refuse(self, one: Declared, what: str, **said: Any) -> None:
        self.problems.add(Path(one.place.file), one.place.line, what, **said)

    def _refuse_unknown(self, one: Declared, what: str, name: str, known: Collection[str], **said: Any) -> None:
        if name not in known:
            self._refuse(one, what, **{"found": name, **among(name, known), **said})

    def _add_wrong_signature(self, one: Declared, given: Sequence[str]) -> None:
        """A function that cannot be called with what it is given, or would take one table for another."""
        name = getattr(one.function, "__name__", "the function")
        try:
            bound = inspect.signature(one.function).bind(*given)
        except (TypeError, ValueError) as error:
            what, expected = (
                f"{name} cannot be called with what it is given",
                f"{len(given)} parameters: {listed(given)}",
            )
            self._refuse(one, what, found=str(error), expected=expected)
            return
        names = {table.rpartition(".")[2] for table in given}
        for parameter, table in bound.arguments.items():
            if isinstance(table, str) and parameter in names and parameter != table.rpartition(".")[2]:
                what, expected = f"{name} is given {table} as its parameter {parameter}", "parameters in this order"
                self._refuse(one, what, expected=f"{expected}: {listed(given)}")
                return

    def _ordered(self, marts: Sequence[Mart]) -> tuple[Mart, ...]:
        """The marts, each after those that it reads."""
        tables = {mart.table: mart for mart in sorted(marts, key=lambda mart: mart.table)}
        try:
            order = TopologicalSorter({table: mart.gold for table, mart in tables.items()}).static_order()
            return tuple(tables[table] for table in order)
        except CycleError as error:
            circle, what = [*reversed(error.args[1])], "marts read each other in a circle"
            remedy = "Remove one of these inputs."
            self._refuse(tables[circle[0]], what, found=" -> ".join(circle), remedy=remedy)
            return ()
