"""What pydantic and jsonschema find wrong, said in our words and at the line of the file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeVar

from jsonschema.exceptions import ValidationError as SchemaError
from jsonschema.protocols import Validator
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from varve.config.documents import Document, Location, is_secretive
from varve.config.models import IN_WORDS
from varve.config.problems import close_match, did_you_mean, listed

_T = TypeVar("_T")
_JsonSchema = Mapping[str, Any]

_QUOTE: Final = "Write it in quotes."
_EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "text", "bool_type": "true or false", "bool_parsing": "true or false",
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "float_parsing": "a number", "tuple_type": "a list", "list_type": "a list",
    "mapping_type": "fields", "dict_type": "fields", "model_type": "fields", "model_attributes_type": "fields",
}  # fmt: skip
_JSON_TYPES: Final[Mapping[str, str]] = {
    "string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "array": "a list", "object": "fields",
}  # fmt: skip
_UNKNOWN_FIELD: Final = ("unevaluatedProperties", "additionalProperties")
# pydantic puts the branch of a union that it took among the steps of a place; the file does not have it.
_BRANCHES: Final = frozenset({"as it stands", "from path", "from column"})


def validated(
    document: Document, shape: TypeAdapter[_T], value: Any = None, at: tuple[str | int, ...] = (), *, name: str = ""
) -> _T | None:
    """The document (or `value`, which stands in it `at` that place) as its model; None when it is not valid.

    name: what messages call the value itself; absent: the last step of `at`.
    """
    try:
        return shape.validate_python(document.value if not at else value)
    except ValidationError as error:
        schema = _schema_of(shape)
        found = error.errors(include_url=False)
        misspelt = {
            (details["loc"][:-1], meant)
            for details in found
            if details["type"] == "extra_forbidden"
            and (meant := close_match(str(details["loc"][-1]), fields_at(schema, details["loc"][:-1])))
        }
        for details in found:
            if details["type"] != "missing" or (details["loc"][:-1], details["loc"][-1]) not in misspelt:
                _add_model_error(document, details, schema, at, name)
    return None


@cache
def _schema_of(shape: TypeAdapter[Any]) -> _JsonSchema:
    return shape.json_schema()


def _add_model_error(
    document: Document, details: ErrorDetails, schema: _JsonSchema, at: tuple[str | int, ...], name: str
) -> None:
    """One of pydantic's errors as a problem. Values in secretive places never enter it."""
    steps: Location = details["loc"]
    place = (*at, *steps)
    kind, context, value = details["type"], details.get("ctx", {}), details["input"]
    field = str(steps[-1]) if steps else ""
    if kind == "extra_forbidden":
        known = fields_at(schema, steps[:-1])
        document.refuse(
            place,
            f"the field {field} is unknown",
            expected=f"one of {listed(sorted(known))}",
            remedy=did_you_mean(field, known),
        )
    elif kind == "missing":
        found = listed(value) if isinstance(value, dict) else None
        document.refuse(place[:-1], f"the field {field} is missing", found=found)
    elif field == "[key]":
        names = re.findall(r"'([^']*)'", context.get("expected", ""))
        document.refuse(
            place,
            f"the name {steps[-2]} is not possible",
            expected=f"one of {listed(names)}" if names else IN_WORDS.get(context.get("pattern", "")),
            remedy=did_you_mean(str(steps[-2]), names),
        )
    elif kind in ("literal_error", "enum"):
        names = re.findall(r"'([^']*)'", context["expected"])
        document.refuse(
            place,
            f"{_named(place, name if place == at else '')} has a value that is not possible",
            found=None if is_secretive(place) else said(value),
            expected=listed(names),
            remedy=did_you_mean(str(value), names),
        )
    elif "found" in context or "expected" in context:
        where = (*place, context["field"]) if "field" in context else place
        document.refuse(where, details["msg"], found=context.get("found"), expected=context.get("expected"))
    else:
        wanted = _EXPECTED.get(kind)
        quotable = kind == "string_type" and isinstance(value, (bool, int, float))
        document.refuse(
            place,
            f"{_named(place, name if place == at else '')} has a wrong value",
            found=None if is_secretive(place) else said(value),
            expected=wanted or IN_WORDS.get(context.get("pattern", "")) or _rephrased(details["msg"]),
            remedy=_QUOTE if quotable else None,
        )


def add_schema_errors(
    document: Document, validator: Validator, *, besides: Collection[tuple[str | int, ...]] = ()
) -> None:
    """What a JSON schema finds wrong in the document, `besides` the places that are known to be wrong already."""
    schema: _JsonSchema = validator.schema  # type: ignore[assignment]
    found = [(tuple(error.absolute_path), error) for error in validator.iter_errors(document.value)]
    misspelt: set[tuple[Any, ...]] = set()
    for place, error in found:
        if error.validator in _UNKNOWN_FIELD:
            known = fields_at(schema, place)
            value: Any = error.instance
            misspelt |= {(*place, meant) for field in value.keys() - known if (meant := close_match(field, known))}
    for place, error in found:
        if not any(place[: len(known_wrong)] == known_wrong for known_wrong in besides):
            _add_schema_error(document, error, schema, misspelt)


def _add_schema_error(
    document: Document, error: SchemaError, schema: _JsonSchema, misspelt: set[tuple[Any, ...]]
) -> None:
    place = tuple(error.absolute_path)
    value: Any = error.instance
    stated: Any = error.validator_value
    if error.validator in _UNKNOWN_FIELD:
        known = fields_at(schema, place)
        for field in sorted(set(value) - known):  # a field that failed for another reason counts as unevaluated too
            document.refuse(
                (*place, field),
                f"the field {field} is unknown",
                expected=f"one of {listed(sorted(known))}",
                remedy=did_you_mean(field, known),
            )
    elif error.validator == "required":
        for field in stated:
            if field not in value and (*place, field) not in misspelt:
                document.refuse(place, f"the field {field} is missing", found=listed(value))
    elif error.validator == "enum":
        names = [str(name) for name in stated]
        document.refuse(
            place,
            f"{_named(place)} has a value that is not possible",
            found=said(value),
            expected=listed(names),
            remedy=did_you_mean(str(value), names),
        )
    elif error.validator == "type":
        wanted = stated
        types = [wanted] if isinstance(wanted, str) else wanted
        quotable = "string" in types and isinstance(value, (bool, int, float))
        document.refuse(
            place,
            f"{_named(place)} has a wrong value",
            found=said(value),
            expected=" or ".join(_JSON_TYPES.get(t, t) for t in types),
            remedy=_QUOTE if quotable else None,
        )
    elif error.validator in ("oneOf", "anyOf", "allOf", "not"):
        document.refuse(place, f"{_named(place)} has none of the shapes that the standard allows", found=said(value))
    else:
        document.refuse(
            place, f"{_named(place)} has a wrong value", found=said(value), expected=f"{error.validator} {stated}"
        )


def fields_at(schema: _JsonSchema, steps: Sequence[str | int]) -> set[str]:
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


def _named(place: Sequence[str | int], name: str = "") -> str:
    """`name`, else the last name on the way, with its index when it stands in a list: `depends_on[1]`."""
    index = ""
    for step in reversed([step for step in place if step not in _BRANCHES]):
        if name or isinstance(step, str):
            return f"{name or step}{index}"
        index = f"[{step}]{index}"
    return "the file"


def _rephrased(message: str) -> str:
    """pydantic's `Input should be …` without its beginning."""
    return re.sub(r"^(Input|String|Value) should (be |have )?", "", message)
