"""What must hold within one contract, beyond the shape of its fields."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from varve.config.documents import Document, Place
from varve.config.patterns import example, wrong_pattern
from varve.config.problems import repeated
from varve.model.columns import RESERVED, RESERVED_IN_BRONZE
from varve.model.contract import Column, Contract, HistoryRules
from varve.model.fields import IN_WORDS, NAME
from varve.model.scope import SCOPE_COLUMNS


def add_unsound(document: Document, contract: Contract) -> None:
    """Everything that does not fit together in a contract whose document is arranged like it."""
    columns, layer = contract.columns, contract.layer
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", contract.version):
        found, expected = contract.version, "such as 1.2.0"
        document.refuse(("version",), "a version has three numbers", found=found, expected=expected)
    for index, column in enumerate(columns):
        _add_column(document, ("columns", index), column, layer)
    for index, first in repeated([column.name.lower() for column in columns]):  # Spark does not tell A from a
        found = f"first as {columns[first].name} in line {document.line(('columns', first, 'name'))}"
        document.refuse(("columns", index, "name"), f"the column {columns[index].name} occurs twice", found=found)
    # a time may be read twice: as such, and exactly
    for index, first in repeated([(column.received_as, column.is_exact_time) for column in columns]):
        if columns[index].name != columns[first].name:
            what = f"{columns[index].name} and {columns[first].name} are read from one field"
            document.refuse(("columns", index), what, found=columns[index].received_as)
    keys = [(index, column) for index, column in enumerate(columns) if column.key_position is not None]
    for again, first in repeated([column.key_position for _, column in keys]):
        (index, column), what = keys[again], f"{keys[again][1].name} and {keys[first][1].name} have one position"
        document.refuse(("columns", index, "primaryKeyPosition"), what, found=column.key_position)
    if layer == "silver" and not keys:
        what, expected = "a silver table needs a key", "primaryKey: true on a column"
        remedy = "For a bronze table say layer: bronze under customProperties varve."
        document.refuse(("columns",), what, expected=expected, remedy=remedy)
    for index, _ in repeated([rule.name for rule in contract.rules]):
        what, remedy = f"the rule {contract.rules[index].name} occurs twice", "Rejects name rules: rename one."
        document.refuse(("rules", index, "name"), what, remedy=remedy)
    for index, rule in enumerate(contract.rules):
        add_wrong_sql(document, ("rules", index, "implementation"), rule.expression, contract.names)
    if contract.history:
        _add_history(document, contract.history, {column.name: column.type for column in columns})


def _add_column(document: Document, at: Place, column: Column, layer: str) -> None:
    name, is_key = column.name, column.key_position is not None
    if not re.fullmatch(NAME, name):
        what, remedy = "the column's name is not possible", "The name as received goes under customProperties: source."
        document.refuse((*at, "name"), what, found=name, expected=IN_WORDS[NAME], remedy=remedy)
    if name in {"bronze": RESERVED_IN_BRONZE, "silver": RESERVED}.get(layer, ()):
        document.refuse((*at, "name"), f"{name} is a column that Varve adds itself", remedy="Choose another name.")
    if is_key and not column.required:
        document.refuse((*at, "primaryKey"), f"the key column {name} is not required", expected="required: true")
    if is_key and not column.tracked:
        document.refuse(at, f"the key column {name} cannot be overwritten", found="tracked: false")
    zone = f"the zone of {name} would be passed over"
    if column.zone and layer != "bronze":
        document.refuse(at, zone, found=f"layer {layer}", expected="a zone in the contract of the bronze table")
    elif column.zone and column.type != "timestamp" and not column.is_exact_time:
        document.refuse(at, zone, found=column.type, expected="timestamp, or bigint with format timestamp")
    elif column.zone and re.search("[VzOXxZ]", re.sub("'[^']*'", "", column.format or "")):
        document.refuse(at, zone, found=f"format {column.format}", expected="a format without an offset")
    if column.format is not None and not column.is_exact_time:
        _add_format(document, (*at, "format"), column, column.format)


def _add_format(document: Document, at: Place, column: Column, pattern: str) -> None:
    if column.type not in ("date", "timestamp", "timestamp_ntz"):
        what, expected = f"the format of {column.name} would be passed over", "date, timestamp or timestamp_ntz"
        document.refuse(at, what, found=column.type, expected=expected)
    elif wrong := wrong_pattern(pattern):
        remedy = None if wrong.meant is None else f"Write {wrong.meant}, which reads {example(wrong.meant)}."
        document.refuse(
            at, f"{column.name} would be read wrongly: {wrong.what}", found=f"format {pattern}", remedy=remedy
        )


def _add_history(document: Document, rules: HistoryRules, types: Mapping[str, str]) -> None:
    is_short = bool(document.value["history"].get("order"))
    named = [("valid_from", rules.valid_from), ("sequence", rules.sequence)]
    for field, name in (*named, *(("tie_break", name) for name in rules.tie_break)):
        field = "order" if is_short else field
        if name is not None:
            document.refuse_unknown(("history", field), f"{field} names no column", name, types)
    clock = types.get(rules.valid_from or "")
    if clock not in (None, "date", "timestamp", "timestamp_ntz"):
        what, expected = f"valid_from must be a time, {rules.valid_from} is none", "date, timestamp or timestamp_ntz"
        document.refuse(("history", "order" if is_short else "valid_from"), what, found=clock, expected=expected)
    if rules.domain == "sequence" and rules.sequence is None:
        what, expected = "domain sequence needs a sequence", "sequence: <column>"
        document.refuse(("history", "domain"), what, expected=expected)


def add_wrong_sql(document: Document, at: Place, text: str, columns: Collection[str] | None) -> None:
    """A Spark SQL boolean that cannot be parsed, or names columns that are not there (None: not known)."""
    import sqlglot  # costs a third of a second: only who has expressions pays
    from sqlglot import exp

    if not text.strip():
        document.refuse(at, "an expression must be text", expected="a Spark SQL boolean")
        return
    try:
        parsed = sqlglot.parse_one(text, read="spark")
    except sqlglot.errors.SqlglotError as error:
        near = next((e.get("highlight") for e in getattr(error, "errors", ())), None)
        document.refuse(at, "this is not Spark SQL", found=text, remedy=f"Look near {near}." if near else None)
        return
    if isinstance(parsed, (exp.Query, exp.Command, exp.DDL, exp.DML, exp.Block)):
        what = "a statement stands where an expression is expected"
        document.refuse(at, what, found=text, expected="a Spark SQL boolean")
        return
    known = {name.lower() for name in (*(columns or ()), *SCOPE_COLUMNS)}
    for name in sorted({column.name for column in parsed.find_all(exp.Column)} if columns is not None else ()):
        if name.lower() not in known and not name.startswith("_"):
            what = f"the expression names {name}, which is no column"
            document.refuse_unknown(at, what, name, columns or (), found=text)
