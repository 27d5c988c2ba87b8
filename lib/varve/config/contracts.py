"""Contracts in Open Data Contract Standard 3.1 (`conf/contracts/*.odcs.yaml`).

The file is validated against the standard's own JSON schema, which the package `open-data-contract-standard` ships
(its version 3.1 is the standard's). What the standard has no word for stands under `customProperties`:
`varve` of the table (`TableFacts`) and `source`, `format`, `codes`, `personal`, `tracked` of a column (`ColumnFacts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from varve.config.models import Flag, Model, Name, Share
from varve.contract import Column, Contract, Feed, Guard, HistoryRules, Personal, Rule, spark_type

Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]*[dwmy]$")]


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
                "option", "order says the same as valid_from, sequence and tie_break", {"expected": "one of both ways", "field": "order"}
            )
        return self

    def rules(self) -> HistoryRules:
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

    min_rows: Annotated[int, Field(ge=0)] = 1
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
    retain: Mapping[Literal["raw", "bronze", "silver", "gold", "history"], Duration] = Field(default_factory=dict)


class PersonalFacts(Model):
    """The custom property `personal` of a column."""

    kind: Literal["direct", "indirect", "free_text"]
    subject: Name | None = None


class ColumnFacts(Model):
    """The custom properties of a column that Varve reads."""

    source: str | None = None
    format: str | None = None
    codes: str | None = None
    personal: PersonalFacts | None = None
    tracked: Flag = True


def custom(properties: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Custom properties as name -> value."""
    return {entry["property"]: entry["value"] for entry in properties or ()}


def contract_of(value: Mapping[str, Any], facts: TableFacts, columns: Mapping[str, ColumnFacts]) -> Contract:
    """The contract in a document that was found valid."""
    table = value["schema"][0]
    listed = table.get("properties", [])
    return Contract(
        id=value["id"],
        version=value["version"],
        table=table["name"],
        layer=facts.layer,
        columns=tuple(_column(entry, columns[entry["name"]]) for entry in listed),
        rules=tuple(
            rule
            for owner in (None, *listed)
            for rule in _rules((owner or table).get("quality", ()), None if owner is None else owner["name"])
        ),
        history=facts.history.rules() if facts.history else None,
        guard=Guard(**facts.guard.model_dump()) if facts.guard else None,
        feeds=tuple(Feed(feed.bronze, feed.columns) for feed in facts.feeds),
        evolve=facts.evolve,
        retain=dict(facts.retain),
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
        codes=facts.codes,
        tracked=facts.tracked,
        description=entry.get("description", ""),
    )


def _rules(entries: Any, column: str | None) -> list[Rule]:
    return [
        Rule(entry["name"], entry["implementation"], entry.get("severity", "error"), column)
        for entry in entries
        if entry["type"] == "custom"
    ]
