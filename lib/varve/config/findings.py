"""What pydantic and jsonschema find wrong, said in our words and at the line of the file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from jsonschema.protocols import Validator
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from varve.config.documents import Document, Place, is_secretive
from varve.config.problems import close_match, did_you_mean, listed
from varve.model.fields import IN_WORDS

_T = TypeVar("_T")
_JsonSchema = Mapping[str, Any]

# The types of pydantic (the kind of an error without its ending) and of JSON schema.
_TYPES: Final[Mapping[str, str]] = {
    "string": "text", "bool": "true or false", "boolean": "true or false", "int": "a whole number",
    "integer": "a whole number", "float": "a number", "number": "a number", "tuple": "a list", "array": "a list",
    "dict": "fields", "mapping": "fields", "model": "fields", "model_attributes": "fields", "dataclass": "fields",
    "object": "fields",
}  # fmt: skip
_UNKNOWN: Final = ("extra_forbidden", "unexpected_keyword_argument", "unevaluatedProperties", "additionalProperties")
# pydantic puts the branch of a union that it took among the steps of a place; the file does not have it.
_BRANCHES: Final = frozenset({"as it stands", "from path", "from column"})


class _Finding(NamedTuple):
    """kind: unknown, missing (of a field), name (of a field), choice, shape, type, or wrong, which says all itself."""

    place: Place
    kind: str
    value: Any
    expected: Any = None  # names of a name or choice; words of a type


def validated(document: Document, shape: type[_T]) -> _T | None:
    """The document as its model; None when it is not valid, and the reasons are noted."""
    adapter = TypeAdapter(shape)
    try:
        return adapter.validate_python(document.value)
    except ValidationError as error:
        found = [_of_pydantic(details) for details in error.errors(include_url=False)]
        _add(document, adapter.json_schema(), found)
    return None


def add_schema_errors(document: Document, validator: Validator, *, besides: Collection[Place] = ()) -> None:
    """What a JSON schema finds wrong in the document, `besides` the places that are known to be wrong already."""
    schema: Any = validator.schema
    found = [finding for error in validator.iter_errors(document.value) for finding in _of_jsonschema(error, schema)]
    found = [one for one in found if not any(one.place[: len(known)] == known for known in besides)]
    _add(document, schema, found)


def _of_pydantic(details: ErrorDetails) -> _Finding:
    kind, context, value = details["type"], details.get("ctx", {}), details["input"]
    place = tuple(step for step in details["loc"] if step not in _BRANCHES)
    names = re.findall(r"'([^']*)'", str(context.get("expected")))
    in_words = IN_WORDS.get(context.get("pattern", ""))
    if place and place[-1] == "[key]":
        return _Finding(place[:-1], "name", value, names or in_words)
    if kind in (*_UNKNOWN, "missing", "wrong"):
        return _Finding(place, "unknown" if kind in _UNKNOWN else kind, value, context)
    if kind == "literal_error":
        return _Finding(place, "choice", value, names)
    rephrased = re.sub(r"^(Input|String|Value) should (be |have )?", "", details["msg"])
    expected = _TYPES.get(re.sub("_(type|parsing|from_float)$", "", kind))
    return _Finding(place, "type", value, expected or in_words or rephrased)


def _of_jsonschema(error: Any, schema: _JsonSchema) -> Iterator[_Finding]:
    place, kind = tuple(error.absolute_path), error.validator
    value, stated = error.instance, error.validator_value
    if kind in _UNKNOWN:  # a field that failed for another reason counts as unevaluated too
        yield from (_Finding((*place, name), "unknown", None) for name in value.keys() - _fields_at(schema, place))
    elif kind == "required":
        yield from (_Finding((*place, name), "missing", value) for name in stated if name not in value)
    elif kind == "enum":
        yield _Finding(place, "choice", value, [str(name) for name in stated])
    elif kind in ("oneOf", "anyOf", "allOf", "not"):
        yield _Finding(place, "shape", value)
    else:
        types = [stated] if isinstance(stated, str) else stated
        expected = " or ".join(_TYPES.get(t, t) for t in types) if kind == "type" else f"{kind} {stated}"
        yield _Finding(place, "type", value, expected)


def _add(document: Document, schema: _JsonSchema, findings: Collection[_Finding]) -> None:
    """Note them. Values in secretive places are never shown."""
    unknown = [one.place for one in findings if one.kind == "unknown"]
    for place, kind, value, expected in findings:
        name, field = _named(place), str(place[-1]) if place else ""
        found = None if is_secretive(place) else said(value)
        known = sorted(_fields_at(schema, place[:-1])) if kind in ("unknown", "missing") else ()
        if kind == "unknown":
            document.refuse_unknown(place, f"the field {field} is unknown", field, known, found=None)
        elif kind == "missing":
            misspelt = [str(other[-1]) for other in unknown if other[:-1] == place[:-1]]
            if field not in {close_match(other, known) for other in misspelt}:
                found = listed(value) if isinstance(value, dict) else None
                document.refuse(place, f"the field {field} is missing", found=found)
        elif kind == "name":
            is_list = isinstance(expected, list)
            words, remedy = f"one of {listed(expected)}", did_you_mean(field, expected) if is_list else None
            document.refuse(
                place, f"the name {field} is not possible", expected=words if is_list else expected, remedy=remedy
            )
        elif kind == "choice":
            what, remedy = f"{name} has a value that is not possible", did_you_mean(str(value), expected)
            document.refuse(place, what, found=found, expected=listed(expected), remedy=remedy)
        elif kind == "shape":
            document.refuse(place, f"{name} has none of the shapes that the standard allows", found=found)
        elif kind == "wrong":
            at = (*place, expected["field"]) if "field" in expected else place
            facts = {fact: expected.get(fact) for fact in ("found", "expected", "remedy")}
            document.refuse(at, expected["what"], **facts)
        else:
            is_text = "text" in expected.split(" or ") and isinstance(value, (bool, int, float))
            remedy = "Write it in quotes." if is_text else None
            document.refuse(place, f"{name} has a wrong value", found=found, expected=expected, remedy=remedy)


def _fields_at(schema: _JsonSchema, steps: Place) -> set[str]:
    """Names of the fields that a JSON schema knows at the place that `steps` lead to."""
    return {name for shape in _shapes(schema, schema, steps) for name in shape.get("properties", {})}


def _shapes(shape: Any, schema: _JsonSchema, steps: Place) -> Iterator[_JsonSchema]:
    """The parts of a schema that stand at a place below `shape`, with all that they refer to or combine."""
    if not isinstance(shape, dict):
        return
    together = [part for word in ("allOf", "anyOf", "oneOf") for part in shape.get(word, ())]
    if reference := shape.get("$ref"):
        together.append(schema["$defs"][reference.rpartition("/")[2]])
    for part in (*together, shape.get("then"), shape.get("else")):
        yield from _shapes(part, schema, steps)
    if not steps:
        yield shape
        return
    fields = shape.get("properties", {})
    others = [shape.get("additionalProperties"), *shape.get("patternProperties", {}).values()]
    below = [shape.get("items")] if isinstance(steps[0], int) else [fields[steps[0]]] if steps[0] in fields else others
    for part in below:
        yield from _shapes(part, schema, steps[1:])


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
