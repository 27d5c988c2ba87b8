"""What pydantic and jsonschema find wrong, said in our words and at the line of the file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, TypeVar

from jsonschema.protocols import Validator
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from varve.config.documents import Document, Place, is_secretive
from varve.config.problems import among, close_match, did_you_mean, listed
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
_UNKNOWN, _MISSING = "unknown", "missing"  # fields, which the schema has more to say of
_UNKNOWN_TO: Final = ("extra_forbidden", "unexpected_keyword_argument", "unevaluatedProperties", "additionalProperties")
# pydantic puts the branch of a union that it took among the steps of a place; the file does not have it.
_BRANCHES: Final = frozenset({"as it stands", "from path", "from column"})


_Finding = tuple[Place, str, Mapping[str, Any]]  # where, what (or _UNKNOWN, _MISSING), what else is said


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
    found = [one for one in found if not any(one[0][: len(known)] == known for known in besides)]
    _add(document, schema, found)


def _of_pydantic(details: ErrorDetails) -> _Finding:
    kind, context, value = details["type"], details.get("ctx", {}), details["input"]
    place = tuple(step for step in details["loc"] if step not in _BRANCHES)
    names = re.findall(r"'([^']*)'", str(context.get("expected")))
    in_words = IN_WORDS.get(context.get("pattern", ""))
    if place and place[-1] == "[key]":
        name = str(place[-2])
        facts = among(name, names) if names else {"expected": in_words}
        return place[:-1], f"the name {name} is not possible", facts
    if kind == "wrong":
        at = (*place, context["field"]) if "field" in context else place
        return at, context["what"], {fact: context.get(fact) for fact in ("found", "expected", "remedy")}
    if kind in (*_UNKNOWN_TO, "missing"):
        return place, _UNKNOWN if kind in _UNKNOWN_TO else _MISSING, {"found": value}
    if kind == "literal_error":
        return _not_possible(place, value, names)
    rephrased = re.sub(r"^(Input|String|Value) should (be |have )?", "", details["msg"])
    expected = _TYPES.get(re.sub("_(type|parsing|from_float)$", "", kind))
    return _wrong(place, value, expected or in_words or rephrased)


def _of_jsonschema(error: Any, schema: _JsonSchema) -> Iterator[_Finding]:
    place, kind = tuple(error.absolute_path), error.validator
    value, stated = error.instance, error.validator_value
    if kind in _UNKNOWN_TO:  # a field that failed for another reason counts as unevaluated too
        yield from (((*place, name), _UNKNOWN, {}) for name in value.keys() - _fields_at(schema, place))
    elif kind == "required":
        yield from (((*place, name), _MISSING, {"found": value}) for name in stated if name not in value)
    elif kind == "enum":
        yield _not_possible(place, value, [str(name) for name in stated])
    elif kind in ("oneOf", "anyOf", "allOf", "not"):
        yield _of_value(place, value, "none of the shapes that the standard allows")
    else:
        types = [stated] if isinstance(stated, str) else stated
        yield _wrong(
            place, value, " or ".join(_TYPES.get(t, t) for t in types) if kind == "type" else f"{kind} {stated}"
        )


def _not_possible(place: Place, value: Any, names: Collection[str]) -> _Finding:
    facts = {"expected": listed(names), "remedy": did_you_mean(str(value), names)}
    return _of_value(place, value, "a value that is not possible", **facts)


def _wrong(place: Place, value: Any, expected: str) -> _Finding:
    is_text = "text" in expected.split(" or ") and isinstance(value, (bool, int, float))
    remedy = "Write it in quotes." if is_text else None
    return _of_value(place, value, "a wrong value", expected=expected, remedy=remedy)


def _of_value(place: Place, value: Any, what: str, **facts: str | None) -> _Finding:
    """Values in secretive places are never shown."""
    return place, f"{_named(place)} has {what}", {"found": None if is_secretive(place) else said(value), **facts}


def _add(document: Document, schema: _JsonSchema, findings: Collection[_Finding]) -> None:
    unknown = [place for place, what, _ in findings if what == _UNKNOWN]
    for place, what, facts in findings:
        if what not in (_UNKNOWN, _MISSING):
            document.refuse(place, what, **facts)
            continue
        field, known = str(place[-1]), sorted(_fields_at(schema, place[:-1]))
        misspelt = [str(other[-1]) for other in unknown if other[:-1] == place[:-1]]
        if what == _UNKNOWN:
            document.refuse(place, f"the field {field} is unknown", **among(field, known))
        elif field not in [close_match(name, known) for name in misspelt]:
            found = listed(facts["found"]) if isinstance(facts["found"], dict) else None
            document.refuse(place, f"the field {field} is missing", found=found)


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
