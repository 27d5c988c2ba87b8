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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from importlib import import_module, invalidate_caches
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

from varve.config.problems import Problems
from varve.transforms import Declared, collected

_IMPORTING: Final = threading.RLock()  # sys.modules is everybody's


def beside(folder: Path, name: str) -> ModuleSpec | None:
    """The module in the folder that holds conf, or below its `lib`."""
    return PathFinder.find_spec(name, [str(folder)]) or PathFinder.find_spec(name, [str(folder / "lib")])


def module_spec(folder: Path, name: str) -> ModuleSpec | None:
    """The module beside conf, or as Python finds it."""
    invalidate_caches()
    return beside(folder, name) or find_spec(name)


class _Source(SourceFileLoader):
    """Runs what stands in the file now: a compiled copy is trusted for a second, too long beside a digest."""

    text = b""  # what was run

    def get_code(self, fullname: str) -> CodeType:
        text = self.get_data(self.path)
        code: CodeType = self.source_to_code(text, self.path)
        self.text = text
        return code

    @cached_property
    def imports(self) -> list[tuple[int, bool, list[str]]]:
        """(line, whether it stands within a function, names of modules that may be meant) of every import."""
        tree, steps = ast.parse(self.text), self.name.split(".") + [""] * self.is_package(self.name)
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        late = {node for function in functions for node in ast.walk(function)}
        found = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found.append((node.lineno, node in late, [alias.name for alias in node.names]))
            elif isinstance(node, ast.ImportFrom):
                above = steps[: -node.level] if node.level else []
                origin = ".".join([*above, *([node.module] if node.module else [])])
                found.append((node.lineno, node in late, [origin, *(f"{origin}.{a.name}" for a in node.names)]))
        return found


@dataclass(frozen=True, slots=True)
class Imported:
    """What importing gave. sources: module -> the file that was run."""

    declared: Sequence[Declared] = ()
    sources: Mapping[str, _Source] = field(default_factory=dict)

    def code(self, file: str) -> str:
        """A digest of the module in this file and of all of these modules that it imports, over as many steps as
        there are."""
        found: set[str] = set()
        waiting = [name for name, source in self.sources.items() if source.path == file] or [*self.sources]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                targets = [name, *(target for _, _, targets in self.sources[name].imports for target in targets)]
                waiting += [
                    one for one in self.sources if any(f"{target}.".startswith(f"{one}.") for target in targets)
                ]
        digest = sha256()
        for name in sorted(found):
            digest.update(f"{name} {len(self.sources[name].text)}\0".encode() + self.sources[name].text)
        return digest.hexdigest()


def import_all(specs: Sequence[ModuleSpec], problems: Problems) -> Imported:
    """Every module of these packages. What cannot be imported is a problem of its file and line."""
    finder = _Finder(specs)
    with finder.names(), collected() as declared:
        for spec in specs:
            for file, module in _files(spec):
                if not all(step.isidentifier() for step in module.split(".")):
                    what, expected = "the file's name is not possible", "a name that Python can import"
                    problems.add(file, None, what, found=file.name, expected=expected)
                    continue
                try:
                    import_module(module)
                except (Exception, SystemExit) as error:
                    _add_failed(problems, error, file, finder)
    for source in finder.sources.values():
        for line, is_late, targets in source.imports:
            if is_late and targets[0].partition(".")[0] in finder.specs:
                what, expected = (
                    f"{targets[0]} is imported within a function",
                    "modules of this package at the head of the file",
                )
                problems.add(Path(source.path), line, what, expected=expected)
    return Imported(declared, finder.sources)


def module_of(name: str, folder: Path) -> ModuleType:
    """One module, looked for in `folder` (that holds conf), below its `lib`, and among what is installed.

    Raises ModuleNotFoundError where there is none, and whatever its code raises."""
    spec = module_spec(folder, name.partition(".")[0])
    with _Finder([spec] if spec else []).names():
        return import_module(name)


def _files(spec: ModuleSpec) -> Iterator[tuple[Path, str]]:
    """The Python files of a package or module, and the names of their modules: transforms.marts.fx_rate."""
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    found = [(file, place) for place in places for file in place.rglob("*.py")] or [(Path(spec.origin or ""), Path())]
    for file, place in sorted(found, key=lambda one: (one[0].parent, one[0].name != "__init__.py", one[0].name)):
        steps = file.relative_to(place.parent).with_suffix("").parts if places else (spec.name,)
        is_hidden = any(step.startswith(".") for step in steps)
        if file.is_file() and file.name != "__main__.py" and not is_hidden:
            yield file, ".".join(steps[:-1] if steps[-1] == "__init__" else steps)


def _add_failed(problems: Problems, error: BaseException, file: Path, finder: _Finder) -> None:
    """Why a module cannot be imported, at the last line of the company's own that was reached."""
    line, said = None, " ".join(str(error).split())
    if isinstance(error, SyntaxError) and error.filename:
        file, line, said = Path(error.filename), error.lineno, error.msg
    else:
        ours = {source.path for source in finder.sources.values()}
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename in ours:
                file, line = Path(frame.filename), frame.lineno
    found = f"{type(error).__name__}: {said}" if said else type(error).__name__
    problems.add(file, line, "the module cannot be imported", found=found)


class _Finder:
    """Finds the modules of some packages where these lie, and keeps the files that were run."""

    def __init__(self, specs: Sequence[ModuleSpec]) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self.sources: dict[str, _Source] = {}

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] not in self.specs:
            return None
        spec = self.specs[name] if path is None else PathFinder.find_spec(name, path)
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = self.sources[name] = _Source(name, spec.loader.path)
        return spec

    @contextmanager
    def names(self) -> Iterator[None]:
        """Let these names mean what is found here; afterwards they mean what they meant before."""

        def taken() -> dict[str, ModuleType]:
            names = [name for name in sys.modules if name.partition(".")[0] in self.specs]
            return {name: sys.modules.pop(name) for name in names}

        with _IMPORTING:
            before = taken()
            sys.meta_path.insert(0, self)
            try:
                yield
            finally:
                sys.meta_path.remove(self)
                taken()
                sys.modules.update(before)
