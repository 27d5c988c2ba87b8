"""The company's transforms: what its modules declare, held against the contracts and code lists that they name."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

from varve.config.documents import Document
from varve.config.modules import Imported, Root, beside, import_all, installed
from varve.config.problems import Problem, Problems, among, listed
from varve.model.contract import Contract
from varve.transforms import Conforming, Declared, Mart, Transforms

DEFAULT: Final = "transforms"  # what a configuration has that names no modules, if it lies beside conf


def imported(
    names: Sequence[str] | None,
    folder: Path,
    document: Document | None,
    problems: Problems,
    shown: Callable[[Path], str],
) -> Imported:
    """What the modules declare that the settings name. folder: the one that holds conf; document: the settings."""
    if names is None or document is None:
        default = beside(folder, DEFAULT)
        return import_all([default], problems, shown) if default else Imported()
    roots: list[Root] = []
    for index, name in enumerate(names):
        if name in sys.stdlib_module_names or name == "varve":
            document.refuse(("transforms", index), f"{name} is no module of the company", found=name)
        elif root := beside(folder, name) or installed(name):
            roots.append(root)
        else:
            expected = f"{shown(folder / name)}, {shown(folder / 'lib' / name)} or an installed package"
            document.refuse(("transforms", index), f"the module {name} is not there", expected=expected)
    return import_all(roots, problems, shown) if roots else Imported()


@dataclass(frozen=True, slots=True)
class Fitting:
    """Holds what was declared against the rest of the configuration."""

    imported: Imported
    contracts: Mapping[str, Mapping[str, Contract]]  # by layer and table
    codes_dir: Path
    problems: Problems
    shown: Callable[[Path], str]

    def transforms(self) -> Transforms:
        """The functions, when nothing is wrong with them; what is wrong is noted."""
        before = len(self.problems.found)
        declared = self.imported.declared
        conforming = [one for one in declared if isinstance(one, Conforming)]
        marts = [replace(one, code=self.imported.code(one.place.file)) for one in declared if isinstance(one, Mart)]
        self._add_twins()
        for one in conforming:
            self._add_wrong_conforming(one)
        for mart in marts:
            self._add_wrong_mart(mart, {other.table for other in marts})
        ordered = self._ordered(marts) if len(self.problems.found) == before else ()
        return Transforms({(one.entity, one.feed): one for one in conforming}, ordered)

    def _refuse(
        self, one: Declared, what: str, *, found: object = None, expected: object = None, remedy: str | None = None
    ) -> None:
        file = self.shown(Path(one.place.file))
        self.problems.add(Problem(file, one.place.line, what, found, expected, remedy))

    def _add_twins(self) -> None:
        first: dict[str, Declared] = {}
        for one in self.imported.declared:
            name = f"gold.{one.table}" if isinstance(one, Mart) else f"{one.entity} from {one.feed}"
            if name in first:
                place = first[name].place
                self._refuse(
                    one, f"{name} has two functions", found=f"first in {self.shown(Path(place.file))}:{place.line}"
                )
            first.setdefault(name, one)

    def _add_wrong_conforming(self, one: Conforming) -> None:
        silver = self.contracts.get("silver", {})
        if one.entity not in silver:
            self._refuse(one, f"no contract describes silver.{one.entity}", **among(one.entity, sorted(silver)))
            return
        feeds = [feed.bronze for feed in silver[one.entity].feeds]
        if one.feed not in feeds:
            what = f"the contract of {one.entity} has no such feed"
            self._refuse(one, what, found=one.feed, **among(one.feed, feeds))
        self._add_wrong_signature(one, one.function, ["the bronze rows"])

    def _add_wrong_mart(self, mart: Mart, marts: set[str]) -> None:
        gold = self.contracts.get("gold", {})
        if mart.table not in gold:
            self._refuse(mart, f"no contract describes gold.{mart.table}", **among(mart.table, sorted(gold)))
        known = [*(f"silver.{name}" for name in sorted(self.contracts.get("silver", {}))),
                 *(f"gold.{name}" for name in sorted(marts))]  # fmt: skip
        for table in mart.reads:
            if table not in known:
                what = f"the mart {mart.table} reads what is not there"
                self._refuse(mart, what, found=table, **among(table, known))
        lists = sorted(path.stem for path in self.codes_dir.glob("*.csv"))
        for name in mart.codes:
            if name not in lists:
                self._refuse(mart, f"the code list {name} is not there", **among(name, lists))
        self._add_wrong_signature(mart, mart.function, [*mart.reads, *mart.codes])

    def _add_wrong_signature(self, one: Declared, function: Callable[..., object], given: Sequence[str]) -> None:
        """A function that cannot be called with what it is given, or would take one table for another."""
        name = getattr(function, "__name__", "the function")
        try:
            bound = inspect.signature(function).bind(*given)
        except (TypeError, ValueError) as error:
            self._refuse(one, f"{name} cannot be called with what it is given", found=str(error),
                         expected=f"{len(given)} parameters: {listed(given)}")  # fmt: skip
            return
        names = {table.rpartition(".")[2] for table in given}
        for parameter, table in bound.arguments.items():
            if isinstance(table, str) and parameter in names and parameter != table.rpartition(".")[2]:
                self._refuse(one, f"{name} is given {table} as its parameter {parameter}",
                             expected=f"parameters in this order: {listed(given)}")  # fmt: skip
                return

    def _ordered(self, marts: Sequence[Mart]) -> tuple[Mart, ...]:
        """The marts, each after those that it reads."""
        tables = {mart.table: mart for mart in sorted(marts, key=lambda mart: mart.table)}
        try:
            order = TopologicalSorter({table: mart.gold for table, mart in tables.items()}).static_order()
            return tuple(tables[table] for table in order)
        except CycleError as error:
            circle = list(reversed(error.args[1]))
            self._refuse(tables[circle[0]], "marts read each other in a circle", found=" -> ".join(circle),
                         remedy="Remove one of these inputs.")  # fmt: skip
            return ()
