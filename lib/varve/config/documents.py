"""YAML files that remember their lines, and refuse what YAML would swallow or bend."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from varve.config.problems import Problems, among

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

Place = tuple[str | int, ...]  # the way from the top of a file to what stands in it

_BOOLEAN_1_1: Final = re.compile(r"(?i:yes|no|on|off|y|n)")
_PLAIN_TAGS: Final = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null")}
_BENT_NUMBER: Final = re.compile(r"[-+]?(?:0[0-9_]+|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)")
_SECRETIVE: Final = re.compile(
    r"(?i)pass(word|phrase)?|pwd|secret|token|credential|\bsas\b|(account|access|api|private)[._-]?key"
)


def is_secretive(place: Place) -> bool:
    """Whether a secret may have been written there, so that messages must not show the value."""
    return any(isinstance(step, str) and (step == "pseudonyms" or _SECRETIVE.search(step)) for step in place)


class Fields(dict[str, Any]):
    """What stands in a mapping of a file. lines: the line of every field."""

    def __init__(self, values: Mapping[str, Any], lines: Mapping[str, int]) -> None:
        super().__init__(values)
        self.lines = dict(lines)

    def only(self, names: Collection[str]) -> Fields:
        """Those of these names."""
        return Fields({name: self[name] for name in names if name in self}, self.lines)


class Items(list[Any]):
    """What stands in a list of a file. lines: the line of every item."""

    def __init__(self) -> None:
        self.lines: dict[int, int] = {}

    def put(self, value: Any, line: int) -> None:
        """Append what stands at that line."""
        self.lines[len(self)] = line
        self.append(value)


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML file. value: Fields, Items and scalars."""

    path: Path
    value: Any
    problems: Problems

    def line(self, place: Place) -> int:
        """The line of what stands at that place, or of the nearest thing around it."""
        value, line = self.value, 1
        for step in place:
            with suppress(AttributeError, LookupError):
                line = value.lines[step]
                value = value[step]
        return line

    def refuse(self, place: Place, what: str, **said: Any) -> None:
        """Note a problem at that place. said: found, expected, remedy."""
        self.problems.add(self.path, self.line(place), what, **said)

    def refuse_unknown(self, place: Place, what: str, name: str, known: Collection[str], **said: Any) -> None:
        """Note a problem when the name that stands there is none of those known."""
        if name not in known:
            self.refuse(place, what, **{"found": name, **among(name, known), **said})


def read_document(path: Path, problems: Problems) -> Document | None:
    """The document in `path`; None when it cannot be read, and the reasons are added to `problems`."""
    before, text = len(problems.found), ""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        document = Document(path, _Reader(text, path, problems).whole(), problems)
        return document if len(problems.found) == before else None
    except OSError as error:
        problems.add(path, None, "the file cannot be read", found=error.strerror)
    except UnicodeDecodeError as error:
        found = f"byte {error.start + 1} is {error.object[error.start]:#04x}"
        problems.add(path, error.object[: error.start].count(b"\n") + 1, "the file is not UTF-8", found=found)
    except yaml.reader.ReaderError as error:
        line, found = text.count("\n", 0, error.position) + 1, f"#x{error.character:04x}"
        problems.add(path, line, "a control character stands in the file", found=found)
    except yaml.MarkedYAMLError as error:
        mark, reason = error.problem_mark or error.context_mark, error.problem or "it cannot be read"
        number = mark.line if mark else 0
        line_of_it = [*text.splitlines(), ""][number]
        if "\t" in line_of_it[: len(line_of_it) - len(line_of_it.lstrip())] or "\\t" in reason:
            problems.add(path, number + 1, "a tab is used for indentation", expected="blanks")
        else:
            remedy = "Look at this line and the one above."
            problems.add(path, number + 1, f"this is not YAML: {reason}", remedy=remedy)
    return None


class _Reader(_SafeLoader):
    """Turns nodes into Fields, Items and scalars, and refuses ambiguous ones.

    Plain scalars mean what they look like: dates stay text, and only true and false are booleans."""

    def __init__(self, text: str, path: Path, problems: Problems) -> None:
        super().__init__(text)
        self._path, self._problems = path, problems

    def whole(self) -> Any:
        """What stands in the file."""
        node = self.get_single_node()
        return Fields({}, {}) if node is None else self._value(node, (), ())

    def _value(self, node: yaml.Node, at: Place, above: tuple[yaml.Node, ...]) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, at)
        if node in above:
            return self._refuse(node, "an alias leads into itself")
        if isinstance(node, yaml.SequenceNode):
            items = Items()
            for item in node.value:
                items.put(self._value(item, at, (*above, node)), item.start_mark.line + 1)
            return items
        fields = Fields({}, {})
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key in fields:
                found = f"first in line {fields.lines[key]}"
                self._refuse(key_node, f"the field {key} occurs twice", found=found, remedy="Keep one of them.")
            elif key is not None:
                fields.lines[key] = key_node.start_mark.line + 1
                fields[key] = self._value(value_node, (*at, key), (*above, node))
        return fields

    def _key(self, node: yaml.Node) -> Any:
        if node.tag == "tag:yaml.org,2002:merge":
            return self._refuse(node, "merge keys (<<) are not supported", remedy="Write the fields out.")
        if not isinstance(node, yaml.ScalarNode):
            return self._refuse(node, "a field's name must be text", found="a list or fields")
        if node.tag == "tag:yaml.org,2002:null":
            return self._refuse(node, "a field has no name")
        key = self._scalar(node, ())
        if key is None or isinstance(key, str):
            return key
        found, expected = f"{node.value} without quotes", f'"{node.value}" in quotes'
        return self._refuse(node, "a field's name must be text", found=found, expected=expected)

    def _scalar(self, node: yaml.ScalarNode, at: Place) -> Any:
        kind, text = node.tag.rpartition(":")[2], "the value" if is_secretive(at) else node.value
        if node.tag not in _PLAIN_TAGS:
            return self._refuse(node, f"the tag {node.tag} is not supported", expected="plain YAML")
        if not node.style and kind == "bool" and _BOOLEAN_1_1.fullmatch(node.value):
            expected = f'"{node.value}" in quotes for the text, else true or false'
            return self._refuse(node, f"{node.value} without quotes is a truth value to YAML", expected=expected)
        if not node.style and kind == "int" and _BENT_NUMBER.fullmatch(node.value):
            what = f"{text} without quotes is another number to YAML"
            return self._refuse(node, what, expected=f'"{text}" in quotes')
        return self.construct_object(node)

    def _refuse(self, node: yaml.Node, what: str, **said: Any) -> None:
        self._problems.add(self._path, node.start_mark.line + 1, what, **said)


_Reader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _SafeLoader.yaml_implicit_resolvers.items()
}
