"""Contracts in Open Data Contract Standard 3.1 (`conf/contracts/*.odcs.yaml`) as our model of them.

The file is held against the standard's own JSON schema (`standard.py`). What the standard has no word for stands
under `customProperties`: `varve` of the table (TABLE_FACTS of a Contract), and COLUMN_FACTS of a column.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from varve.config.documents import Document, Fields, Items, Place
from varve.config.findings import said, validated
from varve.config.problems import did_you_mean, listed
from varve.config.soundness import add_unsound
from varve.config.standard import follows_the_standard
from varve.model.contract import Contract

TABLE_FACTS: Final = ("layer", "history", "guard", "feeds", "evolve", "retain")
COLUMN_FACTS: Final = ("source", "format", "zone", "codes", "personal", "tracked")


def read_contract(document: Document) -> tuple[Document, Contract] | None:
    """The contract in a document, and the document arranged like it; None when it is not valid, and the reasons are
    noted."""
    before = len(document.problems.found)
    if not follows_the_standard(document):
        return None
    arranged = replace(document, value=_arranged(document))
    contract = validated(arranged, Contract)
    if contract is not None and len(document.problems.found) == before:
        add_unsound(arranged, contract)
    return None if contract is None or len(document.problems.found) > before else (arranged, contract)


def _arranged(document: Document) -> Fields:
    """What the document says, as Contract has it."""
    whole, table, at = document.value, document.value["schema"][0], ("schema", 0)
    columns, rules = Items(), Items()
    is_only_key = sum(bool(entry.get("primaryKey")) for entry in table["properties"]) == 1
    _put_rules(rules, table, None)
    for index, entry in enumerate(table["properties"]):
        column = _column(document, entry, (*at, "properties", index), is_only_key)
        columns.put(column, table["properties"].lines[index])
        _put_rules(rules, entry, entry["name"])
    told = replace(document, value=_custom(document, table, at, ("varve",)))
    facts = told.value.get("varve", Fields({}, {}))
    if not isinstance(facts, Fields):
        told.refuse(("varve",), "varve has a wrong value", found=said(facts), expected="fields")
        facts = Fields({}, {})
    for name in facts:
        told.refuse_unknown(("varve", name), f"the field {name} is unknown", name, sorted(TABLE_FACTS), found=None)
    facts = facts.only(TABLE_FACTS)
    own = {"id": whole["id"], "version": whole["version"], "table": table["name"], "columns": columns, "rules": rules,
           "description": table.get("description", "")}  # fmt: skip
    lines = whole.lines | facts.lines | {"table": table.lines["name"], "columns": table.lines["properties"], "rules": 1}
    return Fields({"layer": "silver", **facts, **own}, lines)


def _column(document: Document, entry: Fields, at: Place, is_only_key: bool) -> Fields:
    name, own = entry["name"], _custom(document, entry, at, COLUMN_FACTS)
    if entry.get("classification") == "personal" and "personal" not in own:
        what = f"{name} is classified as personal and nothing says how"
        expected = "the custom property personal: {kind: direct, indirect or free_text}"
        document.refuse((*at, "classification"), what, expected=expected)
    position = entry.get("primaryKeyPosition", 1 if is_only_key else -1)
    if entry.get("primaryKey") and position < 1:
        what, expected = f"the key column {name} has no position", "primaryKeyPosition: 1, 2, …"
        document.refuse((*at, "primaryKeyPosition"), what, found=entry.get("primaryKeyPosition"), expected=expected)
    elif not entry.get("primaryKey") and "primaryKeyPosition" in entry and position != -1:
        what = f"{name} has a position and is no key"
        document.refuse((*at, "primaryKeyPosition"), what, expected="primaryKey: true")
    said_so = entry.only(("name", "required", "description"))
    key = {"physicalType": entry.get("physicalType"), "key_position": position if entry.get("primaryKey") else None}
    return Fields({**said_so, **key, **own}, entry.lines | own.lines)


def _put_rules(rules: Items, owner: Fields, column: str | None) -> None:
    for index, rule in enumerate(owner.get("quality", ())):
        if rule["type"] == "custom":
            known = rule.only(("name", "implementation", "severity"))
            rules.put(Fields({**known, "column": column}, rule.lines), owner["quality"].lines[index])


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
