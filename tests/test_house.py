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
    assert said == real, "correct the lines in the table 'The way of a row' of docs/architecture.md"
    assert 0 < len(said) <= MOST_FILES_OF_A_ROW
    assert sum(said.values()) <= MOST_LINES_OF_A_ROW


GRAPH_OF_A_ROW = PROJECT / "conf" / "jobs" / "vintages.yml"
SOURCE_OF_A_ROW = PROJECT / "conf" / "sources" / "ecb.yml"
TABLES_OF_A_ROW = ("ecb_eurofxref_hist", "fx", "fx_rate")  # of bronze, silver and gold


def named_by_configuration() -> set[Path]:
    """What no file imports, because configuration names it: the jobs of the graph, the connector of the source's kind,
    and the company's functions for the entity and the mart."""
    bronze, entity, table = TABLES_OF_A_ROW
    text = SOURCE_OF_A_ROW.read_text(encoding="utf-8")
    assert f"contract: {bronze}" in text
    kind = re.search(r"^kind: (\w+)", text, re.M)
    assert kind
    decorators = (f"@conform('{entity}', feed='{bronze}')", f"@mart('{table}', ")
    transforms = {
        file
        for file, tree in sources(LIB / "transforms").items()
        for node in tree.body
        if isinstance(node, Definition)
        for decorator in node.decorator_list
        if f"@{ast.unparse(decorator)}".startswith(decorators)
    }
    jobs = re.findall(r"python_file: (\S+)", GRAPH_OF_A_ROW.read_text(encoding="utf-8"))
    named = {(GRAPH_OF_A_ROW.parent / job).resolve() for job in jobs}
    return named | transforms | {PLATFORM / "connect" / f"{kind[1]}.py"}


def imported_files(file: Path) -> set[Path]:
    """The files of lib that a file imports; of a room's `__init__` also those whose names it hands on."""
    trees = {name_of(one): tree for one, tree in sources(LIB).items()}
    files = {name_of(one): one for one in sources(LIB)}
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = set(imported(tree, set(trees)))
    handed_on = {name for room in found if files[room].stem == "__init__" for name in imported(trees[room], set(trees))}
    return {files[name] for name in found | handed_on}


def test_each_file_on_the_way_of_a_row_is_reached() -> None:
    """By an import of an earlier file, through the door of its room at most, or by what configuration names."""
    named = named_by_configuration()
    reached = {other for job in named if job.parent == JOBS for other in imported_files(job)}
    for step in STEP.finditer(ARCHITECTURE):
        file = PROJECT / step["file"]
        doors = {door for door in reached if door.parent == file.parent}
        assert file in named or file in reached or any(file in imported_files(door) for door in doors), step["file"]
        reached |= imported_files(file)


def test_the_steps_of_a_row_are_in_order() -> None:
    numbers = [int(step[1]) for step in STEP.finditer(ARCHITECTURE)]
    assert numbers == list(range(1, len(numbers) + 1))


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


def test_the_tiers_of_the_history_table_are_said_as_they_are() -> None:
    [said] = re.findall(r"^`history_table` is built in tiers[^:]*: (.*?), the door", ARCHITECTURE, re.M | re.S)
    tiers = [sorted(re.findall(r"`(\w+)`", tier)) for tier in said.split(" | ")]
    lines = HOUSE["importlinter:contract:history-table"]["layers"].split("\n")
    assert tiers == [sorted(re.findall(r"\w+", line)) for line in reversed(lines) if line]


def test_the_table_of_rooms_lists_all_of_them() -> None:
    listed_rooms = re.findall(r"^\| `(\w+)(?:\.py)?` \|", ARCHITECTURE, re.M)
    assert sorted(listed_rooms) == sorted(re.findall(r"\w+", HOUSE["importlinter:contract:rooms"]["layers"]))
    place = {room: number for number, room in enumerate(listed_rooms)}
    assert {(one, other) for one, other in rooms_imported() if place[one] < place[other]} == set(), "not above it"


@pytest.mark.parametrize("name", re.findall(r"^  participant \w+ as (\S+\.(?:py|sh))$", ARCHITECTURE, re.M))
def test_who_takes_part_in_a_run_is_there(name: str) -> None:
    assert (PROJECT / name).is_file() or (PLATFORM / name).is_file()


DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
MADE_BY_USE = {"company/", "lake/"}  # what README names and a checkout does not have


@pytest.mark.parametrize(
    "place",
    sorted({*re.findall(r"\]\((?!http)([^)#]+)", README), *re.findall(r"`((?:[a-z_]+/)+(?:[\w.]+)?)`", README)}),
)
def test_what_the_readme_names_is_there(place: str) -> None:
    folders = (PROJECT, PROJECT / "conf", LIB, LIB / "transforms")  # the last two where a row of its table tells so
    assert place in MADE_BY_USE or any((folder / place).exists() for folder in folders)


def headings(document: Path) -> set[str]:
    """The headings of a document, as links to them are spelt."""
    found = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_to_headings_lead_somewhere(document: Path) -> None:
    for place, heading in re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", document.read_text(encoding="utf-8")):
        assert heading in headings((document.parent / place).resolve() if place else document)


def commands(document: Path) -> Iterator[tuple[str, frozenset[str]]]:
    """(job or graph, its options) of every ./spark-submit.sh in a document."""
    for line in re.findall(r"\./spark-submit\.sh +([a-z][^`\n]*)", document.read_text(encoding="utf-8")):
        said = re.sub(r'"[^"]*"', "", line).partition("#")[0]  # without quoted values and what follows the command
        yield said.split()[0], frozenset(re.findall(r"(?<= )--[a-z-]+", said))


COMMANDS_SAID = sorted(
    {(name, option) for document in DOCUMENTS for name, options in commands(document) for option in (*options, "")}
)


@pytest.mark.parametrize(("name", "option"), COMMANDS_SAID, ids=lambda one: one or "-")
def test_what_the_documents_tell_to_type_is_there(name: str, option: str) -> None:
    job, graph = JOBS / f"{name}.py", PROJECT / "conf" / "jobs" / f"{name}.yml"
    parser = job if job.is_file() else graph
    spelling = f'"{option}"' if parser == job else f"{{name: {option.removeprefix('--')},"
    common = (PLATFORM / "run" / "cli.py").read_text(encoding="utf-8")
    assert spelling in parser.read_text(encoding="utf-8") or f'"{option}"' in common or not option
    assert parser.is_file()
