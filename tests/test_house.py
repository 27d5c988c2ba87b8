"""The house: its rooms, how large they are, what their doors say. Read from the sources; nothing is imported or run."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
LIB, JOBS = PROJECT / "lib", PROJECT / "jobs"
PLATFORM = LIB / "varve"
MOST_FLAT_MODULES = 6
MOST_LINES = {LIB: 400, JOBS: 70}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def sources(folder: Path) -> dict[Path, ast.Module]:
    """The modules below a folder, by their paths."""
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in sorted(folder.rglob("*.py"))}


def name_of(file: Path) -> str:
    """`varve.raw.index`, `varve.raw` for its `__init__`."""
    return ".".join(file.relative_to(LIB).with_suffix("").parts).removesuffix(".__init__")


def test_few_modules_are_flat() -> None:
    assert len(list(PLATFORM.glob("*.py"))) <= MOST_FLAT_MODULES


@pytest.mark.parametrize("folder", MOST_LINES, ids=lambda folder: folder.name)
def test_no_file_is_too_long(folder: Path) -> None:
    lines = {str(file.relative_to(PROJECT)): len(file.read_text().splitlines()) for file in folder.rglob("*.py")}
    assert {file: count for file, count in lines.items() if count > MOST_LINES[folder]} == {}


def imported(tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """The modules of ours that a module imports, those for types among them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in modules or node.module in modules:
                    yield whole if whole in modules else node.module


def test_no_modules_import_each_other() -> None:
    trees = {name_of(file): tree for file, tree in sources(PLATFORM).items()}
    graph = {name: set(imported(tree, set(trees))) - {name} for name, tree in trees.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def public(tree: ast.AST, owner: str = "") -> Iterator[tuple[str, Definition]]:
    """The functions and classes that a module shows, and the methods and properties of these classes."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield f"{owner}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{node.name}.")


def says_itself(node: Definition, overridden: set[str]) -> bool:
    """A property whose name says all (its body is one expression) needs no docstring; neither does a method that a base
    class or protocol of ours has documented."""
    if isinstance(node, ast.ClassDef):
        return False
    decorators = {ast.unparse(one).rpartition(".")[2] for one in node.decorator_list}
    is_property = bool(decorators & {"property", "cached_property"})
    return (is_property and len(node.body) == 1) or "overload" in decorators or node.name in overridden


def documented_methods() -> set[str]:
    """The names of methods that some class of ours documents: whoever overrides one says the same."""
    return {
        name.partition(".")[2]
        for tree in sources(PLATFORM).values()
        for name, node in public(tree)
        if "." in name and ast.get_docstring(node)
    }


@pytest.mark.parametrize("folder", [PLATFORM, LIB / "transforms", JOBS], ids=lambda folder: folder.name)
def test_whatever_is_public_has_a_docstring(folder: Path) -> None:
    known = documented_methods()
    silent = [
        f"{file.relative_to(PROJECT)}: {name}"
        for file, tree in sources(folder).items()
        for name, node in public(tree)
        if ast.get_docstring(node) is None and not says_itself(node, known if "." in name else set())
    ]
    assert silent == []


TWICE_ON_PURPOSE = {
    "main": "what `python -m` runs",
    "framed": "one per format, behind framing.framed",
}


def test_a_name_means_one_thing() -> None:
    places = defaultdict(list)
    for file, tree in sources(PLATFORM).items():
        for name, _ in public(tree):
            if "." not in name:
                places[name].append(name_of(file))
    twice = {name: found for name, found in places.items() if len(found) > 1 and name not in TWICE_ON_PURPOSE}
    assert twice == {}
