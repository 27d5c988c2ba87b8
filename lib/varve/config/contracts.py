"""Contracts in Open Data Contract Standard 3.1 (`conf/contracts/*.odcs.yaml`).

The file is validated against the standard's own JSON schema (`odcs`). What the standard has no word for stands under
`customProperties`: `varve` of the table (`TableFacts`), and `source`, `format`, `codes`, `personal`, `tracked` of a
column (`ColumnFacts`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from varve.config.documents import Document
from varve.config.findings import validated
from varve.config.models import DURATION, Count, Flag, Model, Name, Share, Zone
from varve.config.odcs import Place, follows_the_standard
from varve.config.problems import did_you_mean, listed
from varve.config.soundness import add_unsound
from varve.model.contract import Column, Contract, Feed, Guard, HistoryRules, Personal, Rule, spark_type

Duration = Annotated[str, Field(pattern=DURATION)]


class HistoryFacts(Model):
    """How changes are ordered in the life of a key."""

    valid_from: str | None = None
    """The column with the business time; absent: the manifest's as_of."""
    sequence: str | None = None
    """Of two changes at the same time the one with the greater sequence holds."""
    tie_break: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    """Short for the three above: [valid_from, sequence, tie_break …]."""
    deleted_when: str | None = None
    """Spark SQL boolean over the bronze columns: the row says that the key is deleted."""
    domain: Literal["time", "sequence"] = "time"

    @model_validator(mode="after")
    def _order_stands_alone(self) -> HistoryFacts:
        if self.order and (self.valid_from or self.sequence or self.tie_break):
            raise PydanticCustomError(
                "option", "order says the same as valid_from, sequence and tie_break",
                {"expected": "one of both ways", "field": "order"},
            )  # fmt: skip
        return self

    def rules(self) -> HistoryRules:
        """What orders the changes of an entity, and which of them delete."""
        first, second, *others = (*self.order, None, None) if self.order else (self.valid_from, self.sequence)
        return HistoryRules(
            valid_from=first,
            sequence=second,
            tie_break=tuple(o for o in others if o) if self.order else self.tie_break,
            deleted_when=self.deleted_when,
            domain=self.domain,
        )


class GuardFacts(Model):
    """Limits per scope beyond which a snapshot is parked."""

    min_rows: Count = 1
    max_deleted_share: Share = 0.1
    max_rejected_share: Share = 1.0


class FeedFacts(Model):
    """A bronze table that feeds this one."""

    bronze: Name
    columns: Mapping[str, str] = Field(default_factory=dict)


class TableFacts(Model):
    """The custom property `varve` of a table."""

    layer: Literal["bronze", "silver", "gold"] = "silver"
    history: HistoryFacts | None = None
    guard: GuardFacts | None = None
    feeds: tuple[FeedFacts, ...] = ()
    evolve: Literal["rescue", "add"] = "rescue"
    retain: Mapping[Literal["raw", "history"], Duration] = Field(default_factory=dict)


class PersonalFacts(Model):
    """The custom property `personal` of a column."""

    kind: Literal["direct", "indirect", "free_text"]
    subject: Name | None = None


class ColumnFacts(Model):
    """The custom properties of a column that Varve reads."""

    source: str | None = None
    """The name as received."""
    format: str | None = None
    """A pattern for dates and times; `timestamp` of a bigint: the nanoseconds of the time that is received."""
    zone: Zone | None = None
    """The IANA zone of times that are received without an offset; absent: they are UTC."""
    codes: str | None = None
    personal: PersonalFacts | None = None
    tracked: Flag = True


TABLE_FACTS: Final = TypeAdapter(TableFacts)
_ONE_FACT: Final[Mapping[str, TypeAdapter[Any]]] = {
    name: TypeAdapter[Any](field.rebuild_annotation()) for name, field in ColumnFacts.model_fields.items()
}


def read_contract(document: Document) -> Contract | None:
    """The contract in a document; None when it is not valid, and the reasons are noted."""
    before = len(document.problems.found)
    if not follows_the_standard(document):
        return None
    table = document.value["schema"][0]
    facts = _table_facts(document, table)
    columns = [_column_facts(document, index, entry) for index, entry in enumerate(table["properties"])]
    add_unsound(document)
    if facts is None or len(document.problems.found) > before:
        return None
    return _contract(document.value, facts, [column for column in columns if column is not None])


def _table_facts(document: Document, table: Mapping[str, Any]) -> TableFacts | None:
    place = ("schema", 0)
    values = _custom(document, table, place, ("varve",))
    if "varve" not in values:
        return TableFacts()
    at, value = values["varve"]
    return validated(document, TABLE_FACTS, value, at)


def _column_facts(document: Document, index: int, entry: Mapping[str, Any]) -> ColumnFacts | None:
    place = ("schema", 0, "properties", index)
    values = _custom(document, entry, place, tuple(ColumnFacts.model_fields))
    before = len(document.problems.found)
    for name, (at, value) in values.items():  # one by one, so that each problem has its own line
        validated(document, _ONE_FACT[name], value, at, name=name)
    if len(document.problems.found) > before:
        return None
    return ColumnFacts.model_validate({name: value for name, (_, value) in values.items()})


def _custom(
    document: Document, owner: Mapping[str, Any], place: Place, ours: tuple[str, ...]
) -> dict[str, tuple[Place, Any]]:
    """Our custom properties: name -> (place, value). A name that is neither ours nor another tool's is a problem."""
    found: dict[str, tuple[Place, Any]] = {}
    for index, entry in enumerate(owner.get("customProperties", ())):
        at, name = (*place, "customProperties", index), entry["property"]
        if name in found:
            document.refuse((*at, "property"), f"the custom property {name} occurs twice")
        elif name in ours:
            found[name] = ((*at, "value"), entry["value"])
        elif "." not in name:  # a property that nobody reads may be a misspelt `personal`
            document.refuse(
                (*at, "property"),
                f"the custom property {name} is unknown",
                expected=f"{listed(ours)}, or another tool's, written tool.name",
                remedy=did_you_mean(name, ours),
            )
    return found


def _contract(value: Mapping[str, Any], facts: TableFacts, columns: Sequence[ColumnFacts]) -> Contract:
    """The contract in a document that was found valid."""
    table = value["schema"][0]
    entries = table["properties"]
    return Contract(
        id=value["id"],
        version=value["version"],
        table=table["name"],
        layer=facts.layer,
        columns=tuple(_column(entry, column) for entry, column in zip(entries, columns, strict=True)),
        rules=(*_rules(table, None), *(rule for entry in entries for rule in _rules(entry, entry["name"]))),
        history=facts.history.rules() if facts.history else None,
        guard=Guard(**facts.guard.model_dump()) if facts.guard else None,
        feeds=tuple(Feed(feed.bronze, feed.columns) for feed in facts.feeds),
        evolve=facts.evolve,
        retain={str(layer): duration for layer, duration in facts.retain.items()},
        description=table.get("description", ""),
    )


def _column(entry: Mapping[str, Any], facts: ColumnFacts) -> Column:
    return Column(
        name=entry["name"],
        type=spark_type(entry["physicalType"]) or "",
        required=entry.get("required", False),
        key_position=entry.get("primaryKeyPosition", 1) if entry.get("primaryKey") else None,
        personal=Personal(facts.personal.kind, facts.personal.subject) if facts.personal else None,
        source_name=facts.source,
        format=facts.format,
        zone=facts.zone,
        codes=facts.codes,
        tracked=facts.tracked,
        description=entry.get("description", ""),
    )


def _rules(owner: Mapping[str, Any], column: str | None) -> tuple[Rule, ...]:
    return tuple(
        Rule(entry["name"], entry["implementation"], entry.get("severity", "error"), column)
        for entry in owner.get("quality", ())
        if entry["type"] == "custom"
    )
