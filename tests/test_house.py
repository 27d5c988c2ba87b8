"""The house: its rooms, how large they are, what their doors say. Read from the sources; nothing is imported or run."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections import defaultdict
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[1]
LIB, JOBS = PROJECT / "lib", PROJECT / "jobs"
PLATFORM = LIB / "varve"
README = (PROJECT / "README.md").read_text(encoding="utf-8")
MOST_FLAT_MODULES = 6
MOST_LINES = {LIB: 400, JOBS: 70}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@cache
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
                yield from public(node, f"{owner}{node.name}.")


def shows_its_value(node: Definition) -> bool:
    """Whether it is a property that is one `return`, or one that a protocol declares: its name says all."""
    if isinstance(node, ast.ClassDef) or len(node.body) != 1:
        return False
    decorators = {ast.unparse(one).rpartition(".")[2] for one in node.decorator_list}
    is_value = isinstance(node.body[0], ast.Return) or ast.unparse(node.body[0]) == "..."
    return bool(decorators & {"property", "cached_property", "overload"}) and is_value


@cache
def classes_of_ours() -> dict[str, ast.ClassDef]:
    """The public classes of the platform by their names, of which no two are alike (`test_a_name_means_one_thing`)."""
    return {
        name: node
        for tree in sources(PLATFORM).values()
        for name, node in public(tree)
        if isinstance(node, ast.ClassDef) and "." not in name
    }


def documented_above(node: ast.ClassDef, ours: dict[str, ast.ClassDef]) -> set[str]:
    """The methods whose docstrings a class takes over: those of its bases, and of a protocol that it fulfils."""
    fields = {one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)}
    own = {name for name, _ in public(node)} | fields
    bases = {ast.unparse(base).partition("[")[0] for base in node.bases}
    found: set[str] = set()
    for name, other in ours.items():
        is_protocol = any(ast.unparse(base).partition("[")[0] == "Protocol" for base in other.bases)
        methods = dict(public(other))
        if name in bases or (is_protocol and methods and set(methods) <= own):
            found |= {method for method, one in methods.items() if ast.get_docstring(one)} - {node.name}
        if name in bases:
            found |= documented_above(other, ours)
    return found


def silent(tree: ast.AST, ours: dict[str, ast.ClassDef]) -> Iterator[str]:
    """What a module shows and says nothing of; overrides of what is documented above need not say it again."""
    classes = {name: node for name, node in public(tree) if isinstance(node, ast.ClassDef)}
    for name, node in public(tree):
        owner = classes.get(name.rpartition(".")[0])
        is_told = owner is not None and node.name in documented_above(owner, ours)
        if ast.get_docstring(node) is None and not is_told and not shows_its_value(node):
            yield name


@pytest.mark.parametrize("folder", [PLATFORM, LIB / "transforms", JOBS], ids=lambda folder: folder.name)
def test_whatever_is_public_has_a_docstring(folder: Path) -> None:
    ours = classes_of_ours()
    trees = {str(file.relative_to(PROJECT)): tree for file, tree in sources(folder).items()}
    found = [f"{file}: {one}" for file, tree in trees.items() for one in silent(tree, ours)]
    assert found == []


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


# --- What setup.cfg names


HOUSE = ConfigParser()
HOUSE.read(PROJECT / "setup.cfg", encoding="utf-8")
OTHER_NAMES = {"pyyaml": "yaml", "delta-spark": "delta"}  # package -> the module that it brings
COMMANDS = {"import-linter": "lint-imports", "mypy": "mypy", "ruff": "ruff"}  # package -> what .ci/run calls
LOADED_BY_NAME = {"duckdb-extension-delta": 'duckdb_extensions.import_extension("delta"'}  # package -> the call


def listed(section: str, option: str) -> list[str]:
    """The lines of an option, without comments."""
    return [line for line in HOUSE[section][option].splitlines() if line and not line.startswith("#")]


@cache
def used(*folders: str) -> set[str]:
    """The packages that these folders import, or read data of (`importlib.resources.files`)."""
    found: set[str] = set()
    for node in (node for folder in folders for tree in sources(PROJECT / folder).values() for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif (
            isinstance(node, ast.Call) and ast.unparse(node.func) == "files" and isinstance(node.args[0], ast.Constant)
        ):
            found.add(str(node.args[0].value))
    return {name.partition(".")[0] for name in found}


def is_ours(module: str) -> bool:
    """Whether a file or folder of lib has this name."""
    place = LIB.joinpath(*module.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def requirements(section: str, option: str) -> list[str]:
    """The names of the packages of an option."""
    return [Requirement(line).name for line in listed(section, option)]


@pytest.mark.parametrize("package", requirements("options", "install_requires"))
def test_what_is_required_is_imported(package: str) -> None:
    assert OTHER_NAMES.get(package, package.replace("-", "_")) in used("lib")


@pytest.mark.parametrize("package", requirements("options.extras_require", "test"))
def test_what_tests_require_is_used(package: str) -> None:
    if package in COMMANDS:
        assert re.search(rf"^{COMMANDS[package]}\b", (PROJECT / ".ci" / "run").read_text(encoding="utf-8"), re.M)
    elif package in LOADED_BY_NAME:
        assert any(LOADED_BY_NAME[package] in file.read_text(encoding="utf-8") for file in sources(PROJECT / "tests"))
    elif package.startswith("types-"):  # what mypy knows of a module that brings no types
        module = package.removeprefix("types-")
        assert OTHER_NAMES.get(module, module) in used("lib", "jobs", "examples")
    else:
        assert package.replace("-", "_") in used("tests", "bench")


@pytest.mark.parametrize("pattern", listed("options.package_data", "varve"))
def test_package_data_is_there(pattern: str) -> None:
    assert list(PLATFORM.glob(pattern))


@pytest.mark.parametrize("section", [name for name in HOUSE.sections() if name.startswith("mypy-")])
def test_mypy_speaks_of_what_is_imported(section: str) -> None:
    assert section.removeprefix("mypy-").removesuffix(".*") in used(*re.split(", *", HOUSE["mypy"]["files"]))


@pytest.mark.parametrize("marker", [line.partition(":")[0] for line in listed("tool:pytest", "markers")])
def test_a_marker_marks_tests(marker: str) -> None:
    assert any(f"pytest.mark.{marker}" in ast.unparse(tree) for tree in sources(PROJECT / "tests").values())


NAMED_BY_IMPORT_LINTER = [
    (section.removeprefix("importlinter:"), module)
    for section in HOUSE.sections()
    for option in ("root_packages", "containers", "source_modules", "forbidden_modules", "ignore_imports")
    if section.startswith("importlinter") and option in HOUSE[section]
    for line in listed(section, option)
    for module in line.split(" -> ")
]


@pytest.mark.parametrize(("contract", "module"), NAMED_BY_IMPORT_LINTER)
def test_import_linter_speaks_of_modules_that_are_there(contract: str, module: str) -> None:
    package = module.partition(".")[0]
    assert is_ours(module.removesuffix(".**")) if package == "varve" else importlib.util.find_spec(package)


@pytest.mark.parametrize("section", [name for name in HOUSE.sections() if "layers" in HOUSE[name]])
def test_every_layer_is_there(section: str) -> None:
    [container] = listed(section, "containers")
    layers = re.findall(r"\((\w+)\)", HOUSE[section]["layers"])
    folder = LIB.joinpath(*container.split("."))
    there = {path.relative_to(folder).parts[0].removesuffix(".py") for path in folder.rglob("*.py")}
    assert sorted(layers) == sorted(there - {"__init__"})


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
