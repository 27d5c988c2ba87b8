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
_INSTEAD: Final = "Write it as {type: custom, engine: varve, name: …, implementation: <Spark SQL boolean>}."
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


def quality_entries(value: Any) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Every quality entry with its place, of tables and columns, however wrong the document may be."""
    for t, table in _entries(value, "schema"):
        owners: list[tuple[Place, Any]] = [((), table)]
        owners += [(("properties", c), column) for c, column in _entries(table, "properties")]
        for place, owner in owners:
            for q, entry in _entries(owner, "quality"):
                yield ("schema", t, *place, "quality", q), entry


@cache
def _validator() -> Draft201909Validator:
    text = files("open_data_contract_standard").joinpath("schema.json").read_text(encoding="utf-8")
    return Draft201909Validator(json.loads(text))


def _refused_quality(document: Document) -> Iterator[Place]:
    """Places of quality rules that the standard has and Varve cannot check; each one is a problem."""
    for place, entry in quality_entries(document.value):
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
        document.refuse(place, what, found=found, expected="a rule of engine varve", remedy=_INSTEAD)
        yield place


def _entries(owner: Any, field: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    entries = owner.get(field) if isinstance(owner, dict) else None
    if isinstance(entries, list):
        yield from ((index, entry) for index, entry in enumerate(entries) if isinstance(entry, dict))


def _refuse_what_is_not_kept(document: Document) -> None:
    """What the standard allows and Varve would pass over in silence."""
    value = document.value
    if value["apiVersion"] != VERSION:
        document.refuse(("apiVersion",), "another version of the standard", found=value["apiVersion"], expected=VERSION)
    tables = value.get("schema", [])
    if len(tables) != 1:
        what, remedy = "a contract describes one table", "Write one file per table."
        document.refuse(("schema",), what, found=f"{len(tables)} tables", remedy=remedy)
    for t, table in enumerate(tables):
        if not table.get("properties"):
            document.refuse(("schema", t), "the table has no columns", expected="properties")
    for place, rule in quality_entries(value):
        if rule.get("type") == "custom" and "name" not in rule:
            document.refuse(place, "a quality rule needs a name", found=rule["implementation"])
    for t, table in enumerate(tables):
        for c, column in enumerate(table.get("properties", ())):
            for name in sorted(_UNKEPT.keys() & column.keys()):
                if column[name] not in (False, None, -1):
                    place, found = ("schema", t, "properties", c, name), f"column {column['name']}"
                    document.refuse(place, f"Varve does not keep {name}", found=found, remedy=_UNKEPT[name])
