"""YAML files that remember their lines, and refuse what YAML would swallow or bend."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from varve.config.problems import Problem, Problems, listed

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

Location = Sequence[str | int]

_BOOLEAN_1_1: Final = re.compile(r"(?i:yes|no|on|off|y|n)")
_BENT_NUMBER: Final = re.compile(r"[-+]?(?:0[0-9_]+|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)")


class _Loader(_SafeLoader):
    """Plain scalars mean what they look like: dates stay text, and only true and false are booleans."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Document:
    """One YAML file: its plain value (dicts, lists, scalars) and the line of everything in it."""

    path: Path
    shown: str  # the path as messages show it
    value: Any
    lines: Mapping[tuple[str | int, ...], int] = field(repr=False)

    def line(self, location: Location) -> int | None:
        """The line of what `location` leads to, or of the nearest thing around it that the file holds."""
        found: tuple[str | int, ...] = ()
        for step in location:  # steps that the file does not have (names of union members) are passed over
            if (*found, step) in self.lines:
                found = (*found, step)
        return self.lines.get(found)

    def problem(self, location: Location, what: str, **facts: Any) -> Problem:
        """A problem at that place of this file."""
        return Problem(self.shown, self.line(location), what, **facts)


def read_document(path: Path, shown: str, problems: Problems) -> Document | None:
    """The document in `path`; None when it cannot be read, and the reasons are added to `problems`."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.add(Problem(shown, None, "the file is not UTF-8", found=f"byte {error.start} is {error.object[error.start]:#04x}"))
        return None
    except OSError as error:
        problems.add(Problem(shown, None, "the file cannot be read", found=error.strerror))
        return None
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            reader = _Reader(loader, shown, problems)
            value = {} if node is None else reader.value(node, ())
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        problems.add(_syntax_problem(error, text, shown))
        return None
    return None if reader.failed else Document(path, shown, value, reader.lines)


class _Reader:
    """Turns nodes into plain values, noting lines and refusing ambiguous scalars."""

    def __init__(self, loader: Any, shown: str, problems: Problems) -> None:
        self._loader = loader
        self._shown = shown
        self._problems = problems
        self.lines: dict[tuple[str | int, ...], int] = {(): 1}
        self.failed = False

    def value(self, node: yaml.Node, at: tuple[str | int, ...]) -> Any:
        self.lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*at, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, at: tuple[str | int, ...]) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        first_line: dict[Any, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                self._refuse(line, "merge keys (<<) are not supported", remedy="Write the fields out.")
                continue
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, Hashable) or key is None:
                self._refuse(line, "a field's name must be text", found=key_node.value if key is not None else "no text")
                continue
            if not isinstance(key, str):
                self._refuse(line, "a field's name must be text", found=f"{key_node.value} without quotes",
                             remedy=f'Write "{key_node.value}" in quotes.')  # fmt: skip
                continue
            if key in result:
                self._refuse(line, f"the field {key} occurs twice", found=f"first in line {first_line[key]}",
                             remedy="Keep one of them.")  # fmt: skip
                continue
            first_line[key] = line
            self.lines[(*at, key)] = line
            result[key] = self.value(value_node, (*at, key))
        return result

    def _scalar(self, node: yaml.Node) -> Any:
        line = node.start_mark.line + 1
        if getattr(node, "style", None) is None and node.tag != "tag:yaml.org,2002:str":
            if node.tag == "tag:yaml.org,2002:bool" and _BOOLEAN_1_1.fullmatch(node.value):
                self._refuse(line, f"{node.value} without quotes is a truth value to YAML", found=node.value,
                             expected=f'"{node.value}" in quotes for the text, or true or false')  # fmt: skip
                return None
            if node.tag == "tag:yaml.org,2002:int" and _BENT_NUMBER.fullmatch(node.value):
                self._refuse(line, f"{node.value} without quotes is another number to YAML",
                             found=f"{node.value}, which YAML reads as {self._loader.construct_object(node)}",
                             expected=f'"{node.value}" in quotes')  # fmt: skip
                return None
        if isinstance(node, yaml.ScalarNode) and not node.tag.startswith("tag:yaml.org,2002:"):
            self._refuse(line, f"the tag {node.tag} is not supported", expected="plain YAML")
            return None
        return self._loader.construct_object(node)

    def _refuse(self, line: int, what: str, **facts: Any) -> None:
        self.failed = True
        self._problems.add(Problem(self._shown, line, what, **facts))


def _syntax_problem(error: yaml.YAMLError, text: str, shown: str) -> Problem:
    """One line out of PyYAML's paragraph, with tabs named as what they are."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return Problem(shown, None, "this is not YAML", found=listed(str(error).split()))
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or "\\t" in str(getattr(error, "problem", "")):
        return Problem(shown, mark.line + 1, "a tab is used for indentation", expected="blanks")
    return Problem(shown, mark.line + 1, "this is not YAML", found=getattr(error, "problem", None),
                   remedy=f"Look at or just above: {line.strip()}" if line.strip() else None)  # fmt: skip
