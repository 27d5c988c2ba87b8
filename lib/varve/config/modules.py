"""The company's own modules: found, imported and taken out of the process again.

They are looked for in the folder that holds conf, below its `lib`, and last among what is installed. All files of a
package are imported, under the names that they have for each other, so `from transforms.x import y` and `from .x import
y` both work. What else the process has under such a name is put aside meanwhile and put back afterwards: two
configurations in one process, and a stranger's `transforms` beside an installed one, do not see each other. Because the
modules are gone from `sys.modules` then, Spark sends their functions to its workers by value, and a function cannot
import a module of its own package when it is called: such an import is refused.
"""

from __future__ import annotations

import ast
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

from varve.config.problems import Problem, Problems
from varve.transforms import Declared, collected

_IMPORTING: Final = threading.RLock()  # sys.modules is everybody's


@dataclass(frozen=True, slots=True)
class Root:
    """A package or a module that the settings name. place: its folder, or its file without `.py`."""

    name: str
    place: Path

    def files(self) -> list[Path]:
        """Its modules, `__init__.py` of a folder before the others."""
        if not self.place.is_dir():
            return [self.place.with_name(f"{self.place.name}.py")]
        found = (file for file in self.place.rglob("*.py") if file.is_file() and file.name != "__main__.py")
        files = [file for file in found if not any(p.startswith(".") for p in file.relative_to(self.place).parts)]
        return sorted(files, key=lambda file: (file.parent, file.name != "__init__.py", file.name))

    def module(self, file: Path) -> str:
        """The name of the module in a file, such as transforms.marts.fx_rate."""
        steps = file.relative_to(self.place.parent).with_suffix("").parts
        return ".".join(steps[:-1] if steps[-1] == "__init__" else steps)


def beside(folder: Path, name: str) -> Root | None:
    """The module in the folder that holds conf, or below its `lib`."""
    for place in (folder / name, folder / "lib" / name):
        if place.is_dir() or place.with_name(f"{name}.py").is_file():
            return Root(name, place)
    return None


def installed(name: str) -> Root | None:
    """The module as Python finds it, if it lies in plain files."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        return Root(name, Path(folder)) if Path(folder).is_dir() else None
    file = Path((spec.origin if spec else None) or "")
    return Root(name, file.with_suffix("")) if file.suffix == ".py" else None


@dataclass(frozen=True, slots=True)
class Imported:
    """What importing gave. texts: module -> the text that was run; files: module -> its file."""

    declared: tuple[Declared, ...] = ()
    texts: Mapping[str, bytes] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def code(self, file: str) -> str:
        """A digest of the module in this file and of all of these modules that it imports, over as many steps as
        there are."""
        names = {path: name for name, path in self.files.items()}
        found: set[str] = set()
        waiting = [names[file]] if file in names else list(self.texts)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self._needed(name)
        digest = sha256()
        for name in sorted(found):
            digest.update(f"{name} {len(self.texts[name])}\0".encode() + self.texts[name])
        return digest.hexdigest()

    def _needed(self, name: str) -> Iterator[str]:
        imported = (target for _, targets in imports(ast.parse(self.texts[name]), name, self.files[name])
                    for target in targets)  # fmt: skip
        for target in (name, *imported):
            steps = target.split(".")
            yield from (known for n in range(1, len(steps) + 1) if (known := ".".join(steps[:n])) in self.texts)


def imports(tree: ast.AST, module: str, file: str) -> Iterator[tuple[int, list[str]]]:
    """(line, names of modules that may be meant) of every import in the tree."""
    steps = module.split(".") if Path(file).name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield node.lineno, [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = steps[: len(steps) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield node.lineno, [origin, *(f"{origin}.{alias.name}" for alias in node.names)]


def import_all(roots: Sequence[Root], problems: Problems, shown: Callable[[Path], str]) -> Imported:
    """Every module of these packages. What cannot be imported is a problem of its file and line."""
    finder = _Finder({root.name: root.place for root in roots})
    with _IMPORTING, _own_names(finder), collected() as declared:
        for root in roots:
            for file in root.files():
                module = root.module(file)
                if not all(step.isidentifier() for step in module.split(".")):
                    problems.add(Problem(shown(file), None, "the file's name is not possible", found=file.name,
                                         expected="a name that Python can import"))  # fmt: skip
                    continue
                try:
                    import_module(module)
                except (Exception, SystemExit) as error:
                    problems.add(_problem(error, file, finder, shown))
    for module, text in finder.texts.items():
        _add_late_imports(module, finder, ast.parse(text), problems, shown)
    return Imported(tuple(declared), finder.texts, finder.files)


def module_of(name: str, folder: Path) -> ModuleType:
    """One module, looked for in `folder` (that holds conf), below its `lib`, and among what is installed.

    Raises ModuleNotFoundError where there is none, and whatever its code raises."""
    top = name.partition(".")[0]
    root = beside(folder, top) or installed(top)
    if root is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    finder = _Finder({root.name: root.place})
    with _IMPORTING, _own_names(finder):
        return import_module(name)


def _add_late_imports(
    module: str, finder: _Finder, tree: ast.AST, problems: Problems, shown: Callable[[Path], str]
) -> None:
    expected = "modules of this package at the head of the file"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for line, names in imports(node, module, finder.files[module]):
                if names[0].partition(".")[0] in finder.places:
                    file, what = shown(Path(finder.files[module])), f"{names[0]} is imported within a function"
                    problems.add(Problem(file, line, what, expected=expected))


def _problem(error: BaseException, file: Path, finder: _Finder, shown: Callable[[Path], str]) -> Problem:
    """Why a module cannot be imported, at the last line of the company's own that was reached."""
    said = " ".join(str(error).split())
    place, line = str(file), None
    if isinstance(error, SyntaxError) and error.filename:
        place, line, said = error.filename, error.lineno, error.msg
    else:
        ours = tuple(str(path) for path in finder.places.values())
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename.startswith(ours):
                place, line = frame.filename, frame.lineno
    found = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return Problem(shown(Path(place)), line, "the module cannot be imported", found=found)


class _Finder:
    """Finds the modules of some packages in their files, and keeps the texts of those that were run."""

    def __init__(self, places: Mapping[str, Path]) -> None:
        self.places = places
        self.texts: dict[str, bytes] = {}
        self.files: dict[str, str] = {}

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        root, *steps = name.split(".")
        if root not in self.places:
            return None
        place = self.places[root].joinpath(*steps)
        for file, folders in ((place / "__init__.py", [str(place)]), (place.with_name(f"{place.name}.py"), None)):
            if file.is_file():
                loader = _Source(name, str(file), self)
                return spec_from_file_location(name, file, loader=loader, submodule_search_locations=folders)
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(place)]
        return spec if place.is_dir() else None


class _Source(SourceFileLoader):
    """Runs what stands in the file now: a compiled copy is trusted for a second, too long beside a digest."""

    def __init__(self, name: str, path: str, finder: _Finder) -> None:
        super().__init__(name, path)
        self._finder = finder

    def get_code(self, fullname: str) -> CodeType:
        text = self.get_data(self.path)
        code: CodeType = self.source_to_code(text, self.path)
        self._finder.texts[fullname], self._finder.files[fullname] = text, self.path
        return code


@contextmanager
def _own_names(finder: _Finder) -> Iterator[None]:
    """Let these names mean what the finder finds; afterwards they mean what they meant before."""

    def taken() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.partition(".")[0] in finder.places]
        return {name: sys.modules.pop(name) for name in names}

    before = taken()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        taken()
        sys.modules.update(before)
