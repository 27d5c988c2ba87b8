"""The Open Data Contract Standard 3.1, and the parts of it that Varve does not keep and therefore refuses.

The standard's JSON schema comes with the package `open-data-contract-standard`, whose version 3.1 is the standard's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jsonschema import Draft201909Validator

from varve.config.documents import Document, Place
from varve.config.findings import add_schema_errors, said

VERSION: Final = "v3.1.0"
_UNKEPT: Final[Mapping[str, str]] = {
    "unique": "State the key with primaryKey, which history keeps unique.",
    "logicalTypeOptions": "Write a quality rule for what must hold.",
    "properties": "Name the parts as columns of their own, or keep the value as a string.",
    "items": "Keep the value as a string.",
    "partitioned": "Varve partitions by scope.",
    "partitionKeyPosition": "Varve partitions by scope.",
}


def follows_the_standard(document: Document) -> bool:
    """Whether the document is a contract of the standard that Varve can keep in full; if not, the reasons are noted."""
    before = len(document.problems.found)
    refused = set(_refused_quality(document))
    add_schema_errors(document, _validator(), besides=refused)
    if len(document.problems.found) == before:
        _refuse_what_is_not_kept(document)
    return len(document.problems.found) == before


@cache
def _validator() -> Draft201909Validator:
    text = files("open_data_contract_standard").joinpath("schema.json").read_text(encoding="utf-8")
    return Draft201909Validator(json.loads(text))


def _entries(owner: Any, at: Place, *names: str) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """(place, fields) of what stands in a list that these names lead to, however wrong the document may be."""
    entries = owner.get(names[0]) if isinstance(owner, dict) else None
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if len(names) > 1:
            yield from _entries(entry, (*at, names[0], index), *names[1:])
        elif isinstance(entry, dict):
            yield (*at, names[0], index), entry


def _quality(document: Document) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    yield from _entries(document.value, (), "schema", "quality")
    yield from _entries(document.value, (), "schema", "properties", "quality")


def _refused_quality(document: Document) -> Iterator[Place]:
    """Places of quality rules that the standard has and Varve cannot check; each one is a problem."""
    for place, entry in _quality(document):
        kind = entry.get("type", "library")
        if kind == "library":
            what = "Varve does not check the standard's library rules"
            found = said(entry.get("metric", entry.get("rule")))
        elif kind == "sql":
            what, found = "Varve does not run SQL queries as quality rules", said(entry.get("query"))
        elif kind == "custom" and entry.get("engine", "varve") != "varve":
            what, found = "this quality rule is for another engine", f"engine {said(entry['engine'])}"
        else:
            continue
        remedy = "Write it as {type: custom, engine: varve, name: …, implementation: <Spark SQL boolean>}."
        document.refuse(place, what, found=found, expected="a rule of engine varve", remedy=remedy)
        yield place


def _refuse_what_is_not_kept(document: Document) -> None:
    """What the standard allows and Varve would pass over in silence."""
    version, tables = document.value["apiVersion"], document.value.get("schema", [])
    if version != VERSION:
        document.refuse(("apiVersion",), "another version of the standard", found=version, expected=VERSION)
    if len(tables) != 1:
        found, remedy = f"{len(tables)} tables", "Write one file per table."
        document.refuse(("schema",), "a contract describes one table", found=found, remedy=remedy)
    for place, table in _entries(document.value, (), "schema"):
        if not table.get("properties"):
            document.refuse(place, "the table has no columns", expected="properties")
    for place, rule in _quality(document):
        if rule.get("type") == "custom" and "name" not in rule:
            document.refuse(place, "a quality rule needs a name", found=rule["implementation"])
    for place, column in _entries(document.value, (), "schema", "properties"):
        for name, remedy in _UNKEPT.items():
            if column.get(name) not in (False, None, -1):
                found = f"column {column['name']}"
                document.refuse((*place, name), f"Varve does not keep {name}", found=found, remedy=remedy)
