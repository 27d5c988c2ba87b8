"""Contracts in Open Data Contract Standard 3.1 (`conf/contracts/*.odcs.yaml`) as our model of them.

The file is held against the standard's own JSON schema (`checks/standard.py`). What the standard has no word for stands
under `customProperties`: `varve` of the table (TABLE_FACTS of a Contract), and COLUMN_FACTS of a column.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import TypeAdapter

from varve.config.checks.soundness import add_unsound
from varve.config.checks.standard import follows_the_standard, quality_entries
from varve.config.documents import Document, Place
from varve.config.findings import said, validated
from varve.config.problems import among, did_you_mean, listed
from varve.model.contract import Contract

TABLE_FACTS: Final = ("layer", "history", "guard", "feeds", "evolve", "retain")
COLUMN_FACTS: Final = ("source", "format", "zone", "codes", "personal", "tracked")
CONTRACT: Final = TypeAdapter(Contract)

_Facts = Mapping[str, tuple[Place, Any]]  # name -> its place in the file, its value


def read_contract(document: Document) -> tuple[Document, Contract] | None:
    """The contract in a document, and the document arranged like it; None when it is not valid, and the reasons are
    noted."""
    before = len(document.problems.found)
    if not follows_the_standard(document):
        return None
    arranged = _arranged(document)
    contract = validated(arranged, CONTRACT)
    if contract is not None and len(document.problems.found) == before:
        add_unsound(arranged, contract)
    return None if contract is None or len(document.problems.found) > before else (arranged, contract)


def _arranged(document: Document) -> Document:
    """The document with its parts where Contract has them."""
    table, at = document.value["schema"][0], ("schema", 0)
    facts = _table_facts(document, table, at)
    places: dict[Place, Place] = {("table",): (*at, "name"), ("columns",): (*at, "properties")}
    places |= {(name,): place for name, (place, _) in facts.items()}
    value = {"layer": "silver", "id": document.value["id"], "version": document.value["version"],
             "table": table["name"], "description": table.get("description", ""), "columns": [], "rules": [],
             **{name: fact for name, (_, fact) in facts.items()}}  # fmt: skip
    is_only_key = sum(bool(entry.get("primaryKey")) for entry in table["properties"]) == 1
    for index, entry in enumerate(table["properties"]):
        here = (*at, "properties", index)
        own = _custom(document, entry, here, COLUMN_FACTS)
        if entry.get("classification") == "personal" and "personal" not in own:
            expected = "the custom property personal: {kind: direct, indirect or free_text}"
            what = f"{entry['name']} is classified as personal and nothing says how"
            document.refuse((*here, "classification"), what, expected=expected)
        places |= {("columns", index, name): place for name, (place, _) in own.items()}
        value["columns"] += [
            {"name": entry["name"], "physicalType": entry.get("physicalType"), "required": entry.get("required", False),
             "key_position": _key_position(document, here, entry, is_only_key),
             "description": entry.get("description", ""), **{name: fact for name, (_, fact) in own.items()}}
        ]  # fmt: skip
    for place, rule in quality_entries(document.value):
        if rule["type"] == "custom":
            column = table["properties"][place[3]]["name"] if "properties" in place else None
            places |= {("rules", len(value["rules"])): place}
            value["rules"] += [{"name": rule["name"], "implementation": rule["implementation"], "column": column,
                                "severity": rule.get("severity", "error")}]  # fmt: skip
    return replace(document, value=value, places=places)


def _key_position(document: Document, at: Place, entry: Mapping[str, Any], is_only_key: bool) -> int | None:
    """The position of a column in the key; None when it is no part of it."""
    name, place = entry["name"], (*at, "primaryKeyPosition")
    position: int | None = entry.get("primaryKeyPosition", 1 if entry.get("primaryKey") and is_only_key else None)
    if not entry.get("primaryKey"):
        if position not in (None, -1):
            document.refuse(place, f"{name} has a position and is no key", expected="primaryKey: true")
        return None
    if position is None or position < 1:
        what = f"the key column {name} has no position"
        document.refuse(place, what, found=position, expected="primaryKeyPosition: 1, 2, …")
    return position


def _table_facts(document: Document, table: Mapping[str, Any], at: Place) -> _Facts:
    """What the custom property `varve` says. A field that Contract does not have there is a problem."""
    place, facts = _custom(document, table, at, ("varve",)).get("varve", (at, {}))
    if not isinstance(facts, dict):
        document.refuse(place, "varve has a wrong value", found=said(facts), expected="fields")
        return {}
    for name in facts.keys() - set(TABLE_FACTS):
        document.refuse((*place, name), f"the field {name} is unknown", **among(name, sorted(TABLE_FACTS)))
    return {name: ((*place, name), value) for name, value in facts.items() if name in TABLE_FACTS}


def _custom(document: Document, owner: Mapping[str, Any], place: Place, ours: Collection[str]) -> _Facts:
    """Our custom properties. A name that is neither ours nor another tool's is a problem."""
    found: dict[str, tuple[Place, Any]] = {}
    for index, entry in enumerate(owner.get("customProperties", ())):
        at, name = (*place, "customProperties", index), entry["property"]
        if name in found:
            document.refuse((*at, "property"), f"the custom property {name} occurs twice")
        elif name in ours:
            found[name] = ((*at, "value"), entry["value"])
        elif "." not in name:  # a property that nobody reads may be a misspelt `personal`
            expected = f"{listed(ours)}, or another tool's, written tool.name"
            what, remedy = f"the custom property {name} is unknown", did_you_mean(name, ours)
            document.refuse((*at, "property"), what, expected=expected, remedy=remedy)
    return found
