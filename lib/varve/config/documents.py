"""YAML files that remember their lines, and refuse what YAML would swallow or bend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from varve.config.problems import Problem, Problems

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

Place = tuple[str | int, ...]  # the way from the top of a file to what stands in it

_BOOLEAN_1_1: Final = re.compile(r"(?i:yes|no|on|off|y|n)")
_PLAIN_TAGS: Final = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null")}
_BENT_NUMBER: Final = re.compile(r"[-+]?(?:0[0-9_]+|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)")


class _Loader(_SafeLoader):
    """Plain scalars mean what they look like: dates stay text, and only true and false are booleans."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _SafeLoader.yaml_implicit_resolvers.items()
}


_SECRETIVE: Final = re.compile(
    r"(?i)pass(word|phrase)?|pwd|secret|token|credential|\bsas\b|(account|access|api|private)[._-]?key"
)


def is_secretive(place: Place) -> bool:
    """Whether a secret may have been written there, so that messages must not show the value."""
    return any(isinstance(step, str) and (step == "pseudonyms" or _SECRETIVE.search(step)) for step in place)


@dataclass(frozen=True)
class Document:
    """One YAML file: its plain value (dicts, lists, scalars) and the line of everything in it.

    shown: the path as messages show it. places: of a value that was arranged in another way than the file, where its
    parts stand in the file.
    """

    path: Path
    shown: str
    value: Any
    lines: Mapping[Place, int] = field(repr=False)
    problems: Problems = field(repr=False)
    places: Mapping[Place, Place] = field(default_factory=dict, repr=False)

    def line(self, place: Place) -> int | None:
        """The line of what stands at that place of the value, or of the nearest thing around it."""
        known = (length for length in range(len(place), 0, -1) if place[:length] in self.places)
        if length := next(known, 0):
            place = (*self.places[place[:length]], *place[length:])
        found: Place = ()
        for step in place:  # steps that the file does not have (names of union members) are passed over
            if (*found, step) in self.lines:
                found = (*found, step)
        return self.lines.get(found)

    def refuse(
        self, place: Place, what: str, *, found: object = None, expected: object = None, remedy: str | None = None
    ) -> None:
        """Note a problem at that place of the value."""
        self.problems.add(Problem(self.shown, self.line(place), what, found, expected, remedy))


def read_document(path: Path, shown: str, problems: Problems) -> Document | None:
    """The document in `path`; None when it cannot be read, and the reasons are added to `problems`."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"byte {error.start + 1} is {error.object[error.start]:#04x}"
        problems.add(Problem(shown, error.object[: error.start].count(b"\n") + 1, "the file is not UTF-8", found=found))
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
    return None if reader.failed else Document(path, shown, value, reader.lines, problems)


class _Reader:
    """Turns nodes into plain values, noting lines and refusing ambiguous scalars."""

    def __init__(self, loader: Any, shown: str, problems: Problems) -> None:
        self._loader = loader
        self._shown = shown
        self._problems = problems
        self._open: set[int] = set()  # nodes that are being read: an alias to one of them would never end
        self.lines: dict[Place, int] = {(): 1}
        self.failed = False

    def value(self, node: yaml.Node, at: Place) -> Any:
        """The plain value of a node that stands `at` that place."""
        self.lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, at)
        if id(node) in self._open:
            return self._refuse(node, "an alias leads into itself")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, at)
            return [self.value(item, (*at, index)) for index, item in enumerate(node.value)]
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, at: Place) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key is None:
                continue
            if key in result:
                self._refuse(key_node, f"the field {key} occurs twice", found=f"first in line {self.lines[(*at, key)]}",
                             remedy="Keep one of them.")  # fmt: skip
                continue
            self.lines[(*at, key)] = key_node.start_mark.line + 1
            result[key] = self.value(value_node, (*at, key))
        return result

    def _key(self, node: yaml.Node) -> Any:
        if node.tag == "tag:yaml.org,2002:merge":
            return self._refuse(node, "merge keys (<<) are not supported", remedy="Write the fields out.")
        if not isinstance(node, yaml.ScalarNode):
            return self._refuse(node, "a field's name must be text", found="a list or fields")
        key = self._scalar(node, ())
        if key is None or isinstance(key, str):
            return key if key is not None or self.failed else self._refuse(node, "a field has no name")
        return self._refuse(node, "a field's name must be text", found=f"{node.value} without quotes",
                            expected=f'"{node.value}" in quotes')  # fmt: skip

    def _scalar(self, node: yaml.ScalarNode, at: Place) -> Any:
        if node.tag not in _PLAIN_TAGS:
            return self._refuse(node, f"the tag {node.tag} is not supported", expected="plain YAML")
        kind = node.tag.rpartition(":")[2]
        shown = "the value" if is_secretive(at) else node.value
        if not node.style and kind == "bool" and _BOOLEAN_1_1.fullmatch(node.value):
            return self._refuse(node, f"{node.value} without quotes is a truth value to YAML",
                                expected=f'"{node.value}" in quotes for the text, else true or false')  # fmt: skip
        if not node.style and kind == "int" and _BENT_NUMBER.fullmatch(node.value):
            what = f"{shown} without quotes is another number to YAML"
            return self._refuse(node, what, expected=f'"{shown}" in quotes')
        return self._loader.construct_object(node)

    def _refuse(self, node: yaml.Node, what: str, **facts: Any) -> Any:
        self.failed = True
        self._problems.add(Problem(self._shown, node.start_mark.line + 1, what, **facts))


def _syntax_problem(error: yaml.YAMLError, text: str, shown: str) -> Problem:
    """One line out of PyYAML's paragraph, with tabs named as what they are."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if isinstance(error, yaml.reader.ReaderError):
        number = text.count("\n", 0, error.position) + 1
        return Problem(shown, number, "a control character stands in the file", found=f"#x{error.character:04x}")
    if mark is None:
        return Problem(shown, None, "this is not YAML", found=" ".join(str(error).split()))
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or "\\t" in str(getattr(error, "problem", "")):
        return Problem(shown, mark.line + 1, "a tab is used for indentation", expected="blanks")
    reason = getattr(error, "problem", None) or "it cannot be read"
    return Problem(shown, mark.line + 1, f"this is not YAML: {reason}", remedy="Look at this line and the one above.")
