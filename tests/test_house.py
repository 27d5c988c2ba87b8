"""The house: its rooms, how large they are, what their doors say. Read from the sources; nothing is imported or run."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
LIB, JOBS = PROJECT / "lib", PROJECT / "jobs"
PLATFORM = LIB / "varve"
README = (PROJECT / "README.md").read_text(encoding="utf-8")
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
}


def test_a_name_means_one_thing() -> None:
    places = defaultdict(list)
    for file, tree in sources(PLATFORM).items():
        for name, _ in public(tree):
            if "." not in name:
                places[name].append(name_of(file))
    twice = {name: found for name, found in places.items() if len(found) > 1 and name not in TWICE_ON_PURPOSE}
    assert twice == {}


# --- What the documents say of it


ARCHITECTURE = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
MOST_FILES_OF_A_ROW, MOST_LINES_OF_A_ROW = 15, 1500
STEP = re.compile(r"^\| (\d+) \| `(?P<file>[^`]+)` \| (?P<names>[^|]*)\| (?P<lines>\d+) \|", re.M)


def lines_of(file: Path, names: list[str]) -> int:
    """The lines of these definitions (`function`, `Class`, `Class.method`), of the whole file when none is named."""
    text = file.read_text(encoding="utf-8")
    if not names:
        return len(text.splitlines())
    found: dict[str, Definition] = {}
    for node in ast.parse(text).body:
        if isinstance(node, Definition):
            found[node.name] = node
            found |= {f"{node.name}.{m.name}": m for m in ast.iter_child_nodes(node) if isinstance(m, Definition)}
    return sum((found[name].end_lineno or 0) - found[name].lineno + 1 for name in names)


def test_the_way_of_a_row_is_true() -> None:
    steps = list(STEP.finditer(ARCHITECTURE))
    said = {step["file"]: int(step["lines"]) for step in steps}
    real = {step["file"]: lines_of(PROJECT / step["file"], re.findall("`([^`]+)`", step["names"])) for step in steps}
    assert said == real
    assert 0 < len(said) <= MOST_FILES_OF_A_ROW
    assert sum(said.values()) <= MOST_LINES_OF_A_ROW


def rooms_imported() -> set[tuple[str, str]]:
    """(room, room that it imports) of lib/varve."""
    trees = {name_of(file): tree for file, tree in sources(PLATFORM).items()}
    pairs = {
        (name.split(".")[1], other.split(".")[1])
        for name, tree in trees.items()
        for other in imported(tree, set(trees))
        if "." in name and "." in other
    }
    return {(one, other) for one, other in pairs if one != other}


def rooms_drawn() -> set[tuple[str, str]]:
    """The arrows of the picture of the rooms."""
    [picture] = [part for part in ARCHITECTURE.split("```mermaid\n") if part.startswith("flowchart BT")]
    arrows = [line.split("-->") for line in picture.partition("```")[0].splitlines() if "-->" in line]
    return {(a.strip(), b.strip()) for left, right in arrows for a in left.split("&") for b in right.split("&")}


def reachable(arrows: set[tuple[str, str]], room: str) -> set[str]:
    """The rooms to which arrows lead from a room."""
    found: set[str] = set()
    ahead = [room]
    while ahead:
        steps = {other for one, other in arrows if one == ahead[-1]} - found
        ahead.pop()
        found |= steps
        ahead += steps
    return found


def test_the_picture_of_the_rooms_is_true() -> None:
    drawn, real = rooms_drawn(), rooms_imported()
    assert drawn - real == set(), "drawn, and not imported"
    assert {(one, other) for one, other in real if other not in reachable(drawn, one)} == set(), "not drawn"
    assert {room for pair in drawn for room in pair} == {room for pair in real for room in pair}


@pytest.mark.parametrize("place", sorted(set(re.findall(r"\]\((docs/[^)#]+)|^\| `([a-z/]+)`", README, re.M))))
def test_what_the_readme_names_is_there(place: tuple[str, str]) -> None:
    named = place[0] or place[1]
    assert named == "lake/" or (PROJECT / named).exists()
