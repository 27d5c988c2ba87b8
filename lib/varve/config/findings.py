"""What pydantic and jsonschema find wrong, said in our words and at the line of the file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from jsonschema.protocols import Validator
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from varve.config.documents import Document, Place, is_secretive
from varve.config.problems import close_match, did_you_mean, listed
from varve.model.fields import IN_WORDS

_T = TypeVar("_T")
_JsonSchema = Mapping[str, Any]

# The types of pydantic (the kind of an error without its ending) and of JSON schema.
_EXPECTED: Final[Mapping[str, str]] = {
    "string": "text", "bool": "true or false", "boolean": "true or false", "int": "a whole number",
    "integer": "a whole number", "float": "a number", "number": "a number", "tuple": "a list", "array": "a list",
    "dict": "fields", "mapping": "fields", "model": "fields", "model_attributes": "fields", "dataclass": "fields",
    "object": "fields",
}  # fmt: skip
_UNKNOWN: Final = ("extra_forbidden", "unexpected_keyword_argument", "unevaluatedProperties", "additionalProperties")
# pydantic puts the branch of a union that it took among the steps of a place; the file does not have it.
_BRANCHES: Final = frozenset({"as it stands", "from path", "from column"})


def validated(document: Document, shape: type[_T]) -> _T | None:
    """The document as its model; None when it is not valid, and the reasons are noted."""
    adapter = TypeAdapter(shape)
    try:
        return adapter.validate_python(document.value)
    except ValidationError as error:
        found = [(tuple(step for step in details["loc"] if step not in _BRANCHES), details)
                 for details in error.errors(include_url=False)]  # fmt: skip
        unknown = {place for place, details in found if details["type"] in _UNKNOWN}
        words = _Words(document, adapter.json_schema(), unknown)
        for place, details in found:
            words.add_model_error(place, details)
    return None


def add_schema_errors(document: Document, validator: Validator, *, besides: Collection[Place] = ()) -> None:
    """What a JSON schema finds wrong in the document, `besides` the places that are known to be wrong already."""
    schema: _JsonSchema = validator.schema  # type: ignore[assignment]
    found: list[tuple[Place, Any]] = []
    found += [(tuple(error.absolute_path), error) for error in validator.iter_errors(document.value)]
    # a field that failed for another reason counts as unevaluated too
    unknown = {(*place, field) for place, error in found if error.validator in _UNKNOWN
               for field in error.instance.keys() - fields_at(schema, place)}  # fmt: skip
    words = _Words(document, schema, unknown)
    for place, error in found:
        if not any(place[: len(known)] == known for known in besides):
            words.add_schema_error(place, error)


@dataclass(frozen=True, slots=True)
class _Words:
    """What is wrong in a document, in words. schema: what it should be; unknown: places of all fields that it has and
    should not. Values in secretive places are never shown."""

    document: Document
    schema: _JsonSchema
    unknown: Collection[Place]

    def add_model_error(self, place: Place, details: ErrorDetails) -> None:
        """One of pydantic's errors."""
        kind, context, value = details["type"], details.get("ctx", {}), details["input"]
        names = re.findall(r"'([^']*)'", str(context.get("expected")))
        pattern = IN_WORDS.get(context.get("pattern", ""))
        if kind in _UNKNOWN:
            self._add_unknown(place)
        elif kind == "missing":
            self._add_missing(place, value)
        elif place and place[-1] == "[key]":
            expected = f"one of {listed(names)}" if names else pattern
            what, remedy = f"the name {place[-2]} is not possible", did_you_mean(str(place[-2]), names)
            self.document.refuse(place, what, expected=expected, remedy=remedy)
        elif kind == "literal_error":
            self._add_not_possible(place, value, names)
        elif kind == "wrong":
            said_so = {name: context[name] for name in ("found", "expected", "remedy") if name in context}
            where = (*place, context["field"]) if "field" in context else place
            self.document.refuse(where, details["msg"], **said_so)
        else:
            rephrased = re.sub(r"^(Input|String|Value) should (be |have )?", "", details["msg"])
            type_ = re.sub("_(type|parsing|from_float)$", "", kind)
            self._add_wrong(place, value, _EXPECTED.get(type_) or pattern or rephrased)

    def add_schema_error(self, place: Place, error: Any) -> None:
        """One of jsonschema's errors."""
        kind, value, stated = error.validator, error.instance, error.validator_value
        if kind in _UNKNOWN:
            for at in (at for at in self.unknown if at[:-1] == place):
                self._add_unknown(at)
        elif kind == "required":
            for field in stated - value.keys():
                self._add_missing((*place, field), value)
        elif kind == "enum":
            self._add_not_possible(place, value, [str(name) for name in stated])
        elif kind == "type":
            types = [stated] if isinstance(stated, str) else stated
            self._add_wrong(place, value, " or ".join(_EXPECTED.get(t, t) for t in types))
        elif kind in ("oneOf", "anyOf", "allOf", "not"):
            self._add(place, value, "none of the shapes that the standard allows")
        else:
            self._add_wrong(place, value, f"{kind} {stated}")

    def _add_unknown(self, place: Place) -> None:
        field, known = str(place[-1]), sorted(fields_at(self.schema, place[:-1]))
        self.document.refuse_unknown(place, f"the field {field} is unknown", field, known, found=None)

    def _add_missing(self, place: Place, value: Any) -> None:
        owner, field = place[:-1], place[-1]
        known = fields_at(self.schema, owner)
        if not any(at[:-1] == owner and close_match(str(at[-1]), known) == field for at in self.unknown):
            found = listed(value) if isinstance(value, dict) else None
            self.document.refuse(place, f"the field {field} is missing", found=found)

    def _add_not_possible(self, place: Place, value: Any, names: Collection[str]) -> None:
        remedy = did_you_mean(str(value), names)
        self._add(place, value, "a value that is not possible", expected=listed(names), remedy=remedy)

    def _add_wrong(self, place: Place, value: Any, expected: str) -> None:
        is_text = "text" in expected.split(" or ") and isinstance(value, (bool, int, float))
        self._add(place, value, "a wrong value", expected=expected, remedy="Write it in quotes." if is_text else None)

    def _add(self, place: Place, value: Any, what: str, **facts: Any) -> None:
        found = None if is_secretive(place) else said(value)
        self.document.refuse(place, f"{_named(place)} has {what}", found=found, **facts)


def fields_at(schema: _JsonSchema, steps: Place) -> set[str]:
    """Names of the fields that a JSON schema knows at the place that `steps` lead to."""
    shapes = list(_unfolded(schema, schema))
    for step in steps:
        shapes = [part for shape in shapes for below in _below(shape, step) for part in _unfolded(below, schema)]
    return {name for shape in shapes for name in shape.get("properties", {})}


def _below(shape: _JsonSchema, step: str | int) -> Iterable[Any]:
    if isinstance(step, int):
        return [shape.get("items")]
    if step in shape.get("properties", {}):
        return [shape["properties"][step]]
    return [shape.get("additionalProperties"), *shape.get("patternProperties", {}).values()]


def _unfolded(shape: Any, schema: _JsonSchema) -> Iterator[_JsonSchema]:
    """The shape itself and all that it refers to or combines; nothing when it is none."""
    if isinstance(shape, dict):
        yield shape
        parts = [part for word in ("allOf", "anyOf", "oneOf") for part in shape.get(word, ())]
        if reference := shape.get("$ref"):
            parts.append(schema["$defs"][reference.rpartition("/")[2]])
        for part in (*parts, shape.get("then"), shape.get("else")):
            yield from _unfolded(part, schema)


def said(value: object) -> str:
    """A value of the file as a message shows it, cut when long."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "nothing"
    text = f"{listed(value)} (fields)" if isinstance(value, dict) else repr(value)
    return text if len(text) <= 120 else f"{text[:117]}…"


def _named(place: Place) -> str:
    """The last name on the way, with its index when it stands in a list: `depends_on[1]`."""
    index = ""
    for step in reversed(place):
        if isinstance(step, str):
            return f"{step}{index}"
        index = f"[{step}]{index}"
    return "the file"
