"""What must hold within one contract, beyond the shape of its fields."""

from __future__ import annotations

import re
from typing import Final

from varve.config.checks.expressions import add_wrong_sql
from varve.config.documents import Document
from varve.model.columns import RESERVED, RESERVED_IN_BRONZE
from varve.model.contract import Contract
from varve.model.fields import IN_WORDS, NAME

VERSION_PATTERN: Final = r"[0-9]+\.[0-9]+\.[0-9]+"


def add_unsound(document: Document, contract: Contract) -> None:
    """Everything that does not fit together in a contract whose document is arranged like it."""
    if not re.fullmatch(VERSION_PATTERN, contract.version):
        found, expected = contract.version, "such as 1.2.0"
        document.refuse(("version",), "a version has three numbers", found=found, expected=expected)
    _add_columns(document, contract)
    _add_keys(document, contract)
    _add_zones(document, contract)
    names = [rule.name for rule in contract.rules]
    for index, rule in enumerate(contract.rules):
        if rule.name in names[:index]:
            what, remedy = f"the rule {rule.name} occurs twice", "Rejects name rules: rename one."
            document.refuse(("rules", index, "name"), what, remedy=remedy)
        add_wrong_sql(document, ("rules", index, "implementation"), rule.expression, contract.names)
    _add_history(document, contract)


def _add_columns(document: Document, contract: Contract) -> None:
    reserved = {"bronze": RESERVED_IN_BRONZE, "silver": RESERVED}.get(contract.layer, frozenset())
    first: dict[str, int] = {}
    received: dict[tuple[str, bool], str] = {}
    for index, column in enumerate(contract.columns):
        at, name = ("columns", index, "name"), column.name
        if not re.fullmatch(NAME, name):
            what, remedy = (
                "the column's name is not possible",
                "The name as received goes under customProperties: source.",
            )
            document.refuse(at, what, found=name, expected=IN_WORDS[NAME], remedy=remedy)
        if name.lower() in first:  # Spark does not tell upper from lower case
            twin = first[name.lower()]
            found = f"first as {contract.columns[twin].name} in line {document.line(('columns', twin, 'name'))}"
            document.refuse(at, f"the column {name} occurs twice", found=found)
        first.setdefault(name.lower(), index)
        if name in reserved:
            document.refuse(at, f"{name} is a column that Varve adds itself", remedy="Choose another name.")
        source = (column.received_as, column.is_exact_time)  # a time may be read twice: as such, and exactly
        if received.setdefault(source, name) != name:
            document.refuse(
                ("columns", index), f"{name} and {received[source]} are read from one field", found=source[0]
            )


def _add_zones(document: Document, contract: Contract) -> None:
    """What keeps a column from having the zone of its times."""
    for index, column in enumerate(contract.columns):
        at, what = ("columns", index), f"the zone of {column.name} would be passed over"
        if column.zone is None:
            continue
        if contract.layer != "bronze":
            expected = "a zone in the contract of the bronze table"
            document.refuse(at, what, found=f"layer {contract.layer}", expected=expected)
        elif column.type != "timestamp" and not column.is_exact_time:
            document.refuse(at, what, found=column.type, expected="timestamp, or bigint with format timestamp")
        elif re.search("[VzOXx]", re.sub("'[^']*'", "", column.format or "")):
            document.refuse(at, what, found=f"format {column.format}", expected="a format without an offset")


def _add_keys(document: Document, contract: Contract) -> None:
    positions: dict[int, str] = {}
    for index, column in enumerate(contract.columns):
        at, name, position = ("columns", index), column.name, column.key_position
        if position is None:
            continue
        if not column.required:
            what = f"the key column {name} is not required"
            document.refuse((*at, "primaryKey"), what, expected="required: true")
        if positions.setdefault(position, name) != name:
            what = f"{name} and {positions[position]} have one position"
            document.refuse((*at, "primaryKeyPosition"), what, found=position)
        if not column.tracked:
            document.refuse(at, f"the key column {name} cannot be overwritten", found="tracked: false")
    if contract.layer == "silver" and not positions:
        expected = "primaryKey: true on a column"
        remedy = "For a bronze table say layer: bronze under customProperties varve."
        document.refuse(("columns",), "a silver table needs a key", expected=expected, remedy=remedy)


def _add_history(document: Document, contract: Contract) -> None:
    rules = contract.history
    if rules is None:
        return
    types = {column.name: column.type for column in contract.columns}
    is_short = bool(document.value["history"].get("order"))
    named = [
        ("valid_from", rules.valid_from),
        ("sequence", rules.sequence),
        *(("tie_break", n) for n in rules.tie_break),
    ]
    for field, name in named:
        field = "order" if is_short else field
        if name is not None:
            document.refuse_unknown(("history", field), f"{field} names no column", name, types)
    clock = types.get(rules.valid_from or "")
    if clock not in (None, "date", "timestamp", "timestamp_ntz"):
        what = f"valid_from must be a time, {rules.valid_from} is none"
        place = ("history", "order" if is_short else "valid_from")
        document.refuse(place, what, found=clock, expected="date, timestamp or timestamp_ntz")
    if rules.domain == "sequence" and rules.sequence is None:
        what, expected = "domain sequence needs a sequence", "sequence: <column>"
        document.refuse(("history", "domain"), what, expected=expected)
