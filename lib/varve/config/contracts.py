"""Contracts in Open Data Contract Standard 3.1 (`conf/contracts/*.odcs.yaml`) as our model of them.

The file is held against the standard's own JSON schema, which comes with the package `open-data-contract-standard` of
its version. What the standard has no word for stands under `customProperties`: `varve` of the table (TABLE_FACTS of a
Contract), and COLUMN_FACTS of a column. What the standard has and Varve does not keep is refused.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jsonschema import Draft201909Validator

from varve.config.documents import Document, Fields, Items, Place
from varve.config.findings import add_schema_errors, said, validated
from varve.config.problems import did_you_mean, listed
from varve.config.soundness import add_unsound
from varve.model.contract import Contract

TABLE_FACTS: Final = ("layer", "history", "guard", "feeds", "evolve", "retain")
COLUMN_FACTS: Final = ("source", "format", "zone", "codes", "personal", "tracked")

_VERSION: Final = "v3.1.0"
_UNKEPT: Final[Mapping[str, str]] = {
    "unique": "State the key with primaryKey, which history keeps unique.",
    "logicalTypeOptions": "Write a quality rule for what must hold.",
    "properties": "Name the parts as columns of their own, or keep the value as a string.",
    "items": "Keep the value as a string.",
    "partitioned": "Varve partitions by scope.",
    "partitionKeyPosition": "Varve partitions by scope.",
}


def read_contract(document: Document) -> tuple[Document, Contract] | None:
    """The contract in a document, and the document arranged like it; None when it is not valid, and the reasons are
    noted."""
    problems = document.problems.found
    before = len(problems)
    add_schema_errors(document, _standard(), besides=set(_refused_quality(document)))
    if len(problems) == before:
        _refuse_other_shapes(document)
    if len(problems) > before:
        return None
    arranged = replace(document, value=_arranged(document))
    contract = validated(arranged, Contract)
    if contract is not None and len(problems) == before:
        add_unsound(arranged, contract)
    return None if contract is None or len(problems) > before else (arranged, contract)


@cache
def _standard() -> Draft201909Validator:
    text = files("open_data_contract_standard").joinpath("schema.json").read_text(encoding="utf-8")
    return Draft201909Validator(json.loads(text))


def _refused_quality(document: Document) -> Iterator[Place]:
    """Places of quality rules that the standard has and Varve cannot check; each one is a problem."""
    owners = [*_entries(document.value, "schema"), *_entries(document.value, "schema", "properties")]
    for owner, fields in owners:
        for place, entry in _entries(fields, "quality"):
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
            document.refuse((*owner, *place), what, found=found, expected="a rule of engine varve", remedy=remedy)
            yield (*owner, *place)


def _entries(owner: Any, *names: str) -> Iterator[tuple[Place, Fields]]:
    """(place, fields) of what stands in lists that these names lead to, however wrong the document may be."""
    entries = owner.get(names[0]) if isinstance(owner, Fields) else None
    for index, entry in enumerate(entries if isinstance(entries, Items) else ()):
        if names[1:]:
            yield from (((names[0], index, *place), below) for place, below in _entries(entry, *names[1:]))
        elif isinstance(entry, Fields):
            yield (names[0], index), entry


def _refuse_other_shapes(document: Document) -> None:
    version, tables = document.value["apiVersion"], document.value.get("schema", [])
    if version != _VERSION:
        document.refuse(("apiVersion",), "another version of the standard", found=version, expected=_VERSION)
    if len(tables) != 1:
        found, remedy = f"{len(tables)} tables", "Write one file per table."
        document.refuse(("schema",), "a contract describes one table", found=found, remedy=remedy)
    for index, table in enumerate(tables):
        if not table.get("properties"):
            document.refuse(("schema", index), "the table has no columns", expected="properties")


def _arranged(document: Document) -> Fields:
    """What the document says, as Contract has it."""
    whole, table, at = document.value, document.value["schema"][0], ("schema", 0)
    columns, rules = Items(), Items()
    is_only_key = sum(bool(entry.get("primaryKey")) for entry in table["properties"]) == 1
    _put_rules(document, rules, table, at, None)
    for place, entry in _entries(table, "properties"):
        columns.put(_column(document, entry, (*at, *place), is_only_key), document.line((*at, *place)))
        _put_rules(document, rules, entry, (*at, *place), entry["name"])
    told = replace(document, value=_custom(document, table, at, ("varve",)))
    facts = told.value.get("varve", Fields({}, {}))
    if not isinstance(facts, Fields):
        told.refuse(("varve",), "varve has a wrong value", found=said(facts), expected="fields")
        facts = Fields({}, {})
    for name in facts:
        told.refuse_unknown(("varve", name), f"the field {name} is unknown", name, sorted(TABLE_FACTS), found=None)
    own = {"id": whole["id"], "version": whole["version"], "table": table["name"], "columns": columns, "rules": rules,
           "description": table.get("description", "")}  # fmt: skip
    lines = whole.lines | facts.lines | {"table": table.lines["name"], "columns": table.lines["properties"], "rules": 1}
    return Fields({"layer": "silver", **facts.only(TABLE_FACTS), **own}, lines)


def _column(document: Document, entry: Fields, at: Place, is_only_key: bool) -> Fields:
    name, own, is_key = entry["name"], _custom(document, entry, at, COLUMN_FACTS), entry.get("primaryKey")
    if entry.get("classification") == "personal" and "personal" not in own:
        what = f"{name} is classified as personal and nothing says how"
        expected = "the custom property personal: {kind: direct, indirect or free_text}"
        document.refuse((*at, "classification"), what, expected=expected)
    position = entry.get("primaryKeyPosition", 1 if is_key and is_only_key else -1)
    if is_key and position < 1:
        what, found = f"the key column {name} has no position", entry.get("primaryKeyPosition")
        document.refuse((*at, "primaryKeyPosition"), what, found=found, expected="primaryKeyPosition: 1, 2, …")
    elif not is_key and position != -1:
        what = f"{name} has a position and is no key"
        document.refuse((*at, "primaryKeyPosition"), what, expected="primaryKey: true")
    for unkept, remedy in _UNKEPT.items():
        if entry.get(unkept) not in (False, None, -1):
            document.refuse((*at, unkept), f"Varve does not keep {unkept}", found=f"column {name}", remedy=remedy)
    key = {"physicalType": entry.get("physicalType"), "key_position": position if is_key else None}
    return Fields({**entry.only(("name", "required", "description")), **key, **own}, entry.lines | own.lines)


def _put_rules(document: Document, rules: Items, owner: Fields, at: Place, column: str | None) -> None:
    for place, rule in _entries(owner, "quality"):
        if rule["type"] == "custom" and "name" not in rule:
            document.refuse((*at, *place), "a quality rule needs a name", found=rule["implementation"])
        elif rule["type"] == "custom":
            known = rule.only(("name", "implementation", "severity"))
            rules.put(Fields({**known, "column": column}, rule.lines), document.line((*at, *place)))


def _custom(document: Document, owner: Fields, place: Place, ours: Collection[str]) -> Fields:
    """Our custom properties. A name that is neither ours nor another tool's is a problem."""
    found = Fields({}, {})
    for index, entry in enumerate(owner.get("customProperties", ())):
        at, name = (*place, "customProperties", index, "property"), entry["property"]
        if name in found:
            document.refuse(at, f"the custom property {name} occurs twice")
        elif name in ours:
            found[name], found.lines[name] = entry["value"], entry.lines["value"]
        elif "." not in name:  # a property that nobody reads may be a misspelt `personal`
            expected = f"{listed(ours)}, or another tool's, written tool.name"
            what, remedy = f"the custom property {name} is unknown", did_you_mean(name, ours)
            document.refuse(at, what, expected=expected, remedy=remedy)
    return found
