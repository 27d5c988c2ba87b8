"""What pydantic and jsonschema find wrong, said in our words and at the line of the file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar

from jsonschema.exceptions import ValidationError as SchemaError
from jsonschema.protocols import Validator
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from varve.config.documents import Document, Place, is_secretive
from varve.config.problems import among, close_match, did_you_mean, listed
from varve.model.fields import IN_WORDS

_T = TypeVar("_T")
_JsonSchema = Mapping[str, Any]

_EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "text", "bool_type": "true or false", "bool_parsing": "true or false",
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "float_parsing": "a number", "tuple_type": "a list", "list_type": "a list",
    "mapping_type": "fields", "dict_type": "fields", "model_type": "fields", "model_attributes_type": "fields",
    "dataclass_type": "fields",
}  # fmt: skip
_JSON_TYPES: Final[Mapping[str, str]] = {
    "string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "array": "a list", "object": "fields",
}  # fmt: skip
_UNKNOWN: Final = ("extra_forbidden", "unexpected_keyword_argument", "unevaluatedProperties", "additionalProperties")
# pydantic puts the branch of a union that it took among the steps of a place; the file does not have it.
_BRANCHES: Final = frozenset({"as it stands", "from path", "from column"})


def validated(document: Document, shape: TypeAdapter[_T]) -> _T | None:
    """The document as its model; None when it is not valid, and the reasons are noted."""
    try:
        return shape.validate_python(document.value)
    except ValidationError as error:
        found = error.errors(include_url=False)
        unknown = [(details["loc"][:-1], str(details["loc"][-1])) for details in found if details["type"] in _UNKNOWN]
        words = _Words(document, _schema_of(shape), unknown)
        for details in found:
            words.add_model_error(details)
    return None


@cache
def _schema_of(shape: TypeAdapter[Any]) -> _JsonSchema:
    return shape.json_schema()


def add_schema_errors(document: Document, validator: Validator, *, besides: Collection[Place] = ()) -> None:
    """What a JSON schema finds wrong in the document, `besides` the places that are known to be wrong already."""
    schema: _JsonSchema = validator.schema  # type: ignore[assignment]
    found = [(tuple(error.absolute_path), error) for error in validator.iter_errors(document.value)]
    # a field that failed for another reason counts as unevaluated too
    unknown = [(place, field) for place, error in found if error.validator in _UNKNOWN
               for field in sorted(_fields(error.instance) - fields_at(schema, place))]  # fmt: skip
    words = _Words(document, schema, unknown)
    for place, error in found:
        if not any(place[: len(known)] == known for known in besides):
            words.add_schema_error(place, error)


def _fields(value: Any) -> set[str]:
    return set(value)


@dataclass(frozen=True, slots=True)
class _Words:
    """What is wrong in a document, in words. schema: what it should be; unknown: (place, field) of all fields that it
    has and should not. Values in secretive places are never shown."""

    document: Document
    schema: _JsonSchema
    unknown: Sequence[tuple[Place, str]]

    def add_model_error(self, details: ErrorDetails) -> None:
        """One of pydantic's errors."""
        place, kind, context, value = details["loc"], details["type"], details.get("ctx", {}), details["input"]
        names = re.findall(r"'([^']*)'", str(context.get("expected")))
        pattern = IN_WORDS.get(context.get("pattern", ""))
        if kind in _UNKNOWN:
            self._add_unknown(place[:-1], str(place[-1]))
        elif kind == "missing":
            self._add_missing(place[:-1], str(place[-1]), value)
        elif place and place[-1] == "[key]":
            expected = f"one of {listed(names)}" if names else pattern
            what, remedy = f"the name {place[-2]} is not possible", did_you_mean(str(place[-2]), names)
            self.document.refuse(place, what, expected=expected, remedy=remedy)
        elif kind in ("literal_error", "enum"):
            self._add_not_possible(place, value, names)
        elif kind == "wrong" or "found" in context or "expected" in context:
            said_so = {name: context.get(name) for name in ("found", "expected", "remedy")}
            where = (*place, context["field"]) if "field" in context else place
            self.document.refuse(where, details["msg"], **said_so)
        else:
            rephrased = re.sub(r"^(Input|String|Value) should (be |have )?", "", details["msg"])
            self._add_wrong(place, value, _EXPECTED.get(kind) or pattern or rephrased)

    def add_schema_error(self, place: Place, error: SchemaError) -> None:
        """One of jsonschema's errors."""
        kind, value = str(error.validator), error.instance
        stated: Any = error.validator_value
        if kind in _UNKNOWN:
            for field in (field for owner, field in self.unknown if owner == place):
                self._add_unknown(place, field)
        elif kind == "required":
            for field in (field for field in stated if field not in _fields(value)):
                self._add_missing(place, field, value)
        elif kind == "enum":
            self._add_not_possible(place, value, [str(name) for name in stated])
        elif kind == "type":
            types = [stated] if isinstance(stated, str) else stated
            self._add_wrong(place, value, " or ".join(_JSON_TYPES.get(t, t) for t in types))
        elif kind in ("oneOf", "anyOf", "allOf", "not"):
            what = f"{_named(place)} has none of the shapes that the standard allows"
            self.document.refuse(place, what, found=said(value))
        else:
            self._add_wrong(place, value, f"{kind} {stated}")

    def _add_unknown(self, place: Place, field: str) -> None:
        known = sorted(fields_at(self.schema, place))
        self.document.refuse((*place, field), f"the field {field} is unknown", **among(field, known))

    def _add_missing(self, place: Place, field: str, value: Any) -> None:
        known = fields_at(self.schema, place)
        if not any(owner == place and close_match(misspelt, known) == field for owner, misspelt in self.unknown):
            found = listed(value) if isinstance(value, dict) else None
            self.document.refuse(place, f"the field {field} is missing", found=found)

    def _add_not_possible(self, place: Place, value: Any, names: Sequence[str]) -> None:
        found = None if is_secretive(place) else said(value)
        what, remedy = f"{_named(place)} has a value that is not possible", did_you_mean(str(value), names)
        self.document.refuse(place, what, found=found, expected=listed(names), remedy=remedy)

    def _add_wrong(self, place: Place, value: Any, expected: str) -> None:
        found = None if is_secretive(place) else said(value)
        remedy = (
            "Write it in quotes."
            if "text" in expected.split(" or ") and isinstance(value, (bool, int, float))
            else None
        )
        self.document.refuse(place, f"{_named(place)} has a wrong value", found=found, expected=expected, remedy=remedy)


def fields_at(schema: _JsonSchema, steps: Place) -> set[str]:
    """Names of the fields that a JSON schema knows at the place that `steps` lead to."""
    shapes = list(_unfolded(schema, schema))
    for step in steps:
        following = [s for shape in shapes for s in _below(shape, step, schema)]
        if following:
            shapes = following
        elif step not in _BRANCHES:
            return set()
    return {name for shape in shapes for name in shape.get("properties", {})}


def _below(shape: _JsonSchema, step: str | int, schema: _JsonSchema) -> Iterable[_JsonSchema]:
    candidates: list[Any]
    if isinstance(step, int):
        candidates = [shape.get("items")]
    elif step in shape.get("properties", {}):
        candidates = [shape["properties"][step]]
    else:
        candidates = [shape.get("additionalProperties"), *shape.get("patternProperties", {}).values()]
    return [s for c in candidates if isinstance(c, dict) for s in _unfolded(c, schema)]


def _unfolded(shape: _JsonSchema, schema: _JsonSchema) -> Iterable[_JsonSchema]:
    """The shape itself and all that it refers to or combines."""
    yield shape
    if reference := shape.get("$ref"):
        yield from _unfolded(schema["$defs"][reference.rpartition("/")[2]], schema)
    parts = [part for word in ("allOf", "anyOf", "oneOf") for part in shape.get(word, ())]
    for part in (*parts, *(shape[word] for word in ("then", "else") if isinstance(shape.get(word), dict))):
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
    for step in reversed([step for step in place if step not in _BRANCHES]):
        if isinstance(step, str):
            return f"{step}{index}"
        index = f"[{step}]{index}"
    return "the file"
