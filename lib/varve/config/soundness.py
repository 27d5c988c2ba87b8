"""What must hold within one contract, beyond the shape of its fields."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from varve.config.documents import Document
from varve.config.models import IN_WORDS, NAME
from varve.config.odcs import Place
from varve.config.problems import did_you_mean, listed
from varve.model.contract import EXACT_TIME, EXPECTED_TYPE, spark_type
from varve.model.scope import SCOPE_COLUMNS

VERSION_PATTERN: Final = r"[0-9]+\.[0-9]+\.[0-9]+"
# The log and the versions of an entity have these columns themselves; a contract cannot name them again.
RESERVED: Final = frozenset(
    {*SCOPE_COLUMNS, "op", "valid_from", "valid_to", "sequence", "recorded_at", "manifest", "contract_version",
     "is_current", "is_deleted", "is_open", "version_key", "row_hash", "last_position"}
)  # fmt: skip
_NAMED: Final = IN_WORDS[NAME]


def add_unsound(document: Document) -> None:
    """Everything that is wrong in a contract that follows the standard."""
    contract = document.value
    table = contract["schema"][0]
    facts: Any = next((p["value"] for p in table.get("customProperties", ()) if p["property"] == "varve"), {})
    facts = facts if isinstance(facts, dict) else {}
    layer = facts.get("layer", "silver")
    if not re.fullmatch(VERSION_PATTERN, contract["version"]):
        document.refuse(
            ("version",), "a version has three numbers", found=contract["version"], expected="such as 1.2.0"
        )
    if not re.fullmatch(NAME, table["name"]):
        document.refuse(("schema", 0, "name"), "the table's name is not possible", found=table["name"], expected=_NAMED)
    _add_columns(document, table["properties"], layer)
    _add_keys(document, table["properties"], layer)
    _add_rules(document, table)
    history = facts.get("history")
    if isinstance(history, dict):
        _add_history(document, table, history)


def _add_columns(document: Document, columns: Sequence[Mapping[str, Any]], layer: str) -> None:
    first: dict[str, tuple[str, int | None]] = {}
    received: dict[tuple[str, bool], str] = {}
    for index, column in enumerate(columns):
        at, name = _column(index), column["name"]
        if not re.fullmatch(NAME, name):
            document.refuse(
                (*at, "name"),
                "the column's name is not possible",
                found=name,
                expected=_NAMED,
                remedy="The name as received goes under customProperties: source.",
            )
        if name.lower() in first:  # Spark does not tell upper from lower case
            twin, line = first[name.lower()]
            document.refuse((*at, "name"), f"the column {name} occurs twice", found=f"first as {twin} in line {line}")
        first.setdefault(name.lower(), (name, document.line((*at, "name"))))
        if name in (SCOPE_COLUMNS if layer == "bronze" else RESERVED) and layer != "gold":
            document.refuse((*at, "name"), f"{name} is a column that Varve adds itself", remedy="Choose another name.")
        if "physicalType" not in column:
            document.refuse(at, f"the column {name} has no physicalType", expected=EXPECTED_TYPE)
        elif spark_type(column["physicalType"]) is None:
            document.refuse(
                (*at, "physicalType"),
                f"the type of {name} is unknown",
                found=column["physicalType"],
                expected=EXPECTED_TYPE,
            )
        facts = {p["property"]: p["value"] for p in column.get("customProperties", ())}
        kind = spark_type(str(column.get("physicalType")))
        is_exact = kind == "bigint" and facts.get("format") == EXACT_TIME
        source = (str(facts.get("source", name)), is_exact)  # a time may be read twice: as such, and exactly
        if received.get(source, name) != name:
            document.refuse(at, f"{name} and {received[source]} are read from one field", found=source[0])
        received[source] = name
        if "zone" in facts:
            _add_zone(document, at, column, layer, "timestamp" if is_exact else kind, facts.get("format"))
        if column.get("classification") == "personal" and "personal" not in facts:
            document.refuse(
                (*at, "classification"),
                f"{name} is classified as personal and nothing says how",
                expected="the custom property personal: {kind: direct, indirect or free_text}",
            )


def _add_zone(
    document: Document, at: Place, column: Mapping[str, Any], layer: str, kind: str | None, form: object
) -> None:
    """What keeps a column from having the zone of its times."""
    what = f"the zone of {column['name']} would be passed over"
    if layer != "bronze":
        document.refuse(at, what, found=f"layer {layer}", expected="a zone in the contract of the bronze table")
    elif kind not in (None, "timestamp"):
        document.refuse(at, what, found=kind, expected="timestamp, or bigint with format timestamp")
    elif re.search("[VzOXx]", re.sub("'[^']*'", "", str(form or ""))):
        document.refuse(at, what, found=f"format {form}", expected="a format without an offset")


def _add_keys(document: Document, columns: Sequence[Mapping[str, Any]], layer: str) -> None:
    keys = [(index, column) for index, column in enumerate(columns) if column.get("primaryKey")]
    positions: dict[int, str] = {}
    for index, column in enumerate(columns):
        if "primaryKeyPosition" in column and not column.get("primaryKey") and column["primaryKeyPosition"] != -1:
            document.refuse(
                (*_column(index), "primaryKeyPosition"),
                f"{column['name']} has a position and is no key",
                expected="primaryKey: true",
            )
    for index, column in keys:
        at, name = _column(index), column["name"]
        if not column.get("required"):
            document.refuse((*at, "primaryKey"), f"the key column {name} is not required", expected="required: true")
        position = column.get("primaryKeyPosition", 1 if len(keys) == 1 else None)
        if position is None or position < 1:
            document.refuse(
                (*at, "primaryKeyPosition"),
                f"the key column {name} has no position",
                found=position,
                expected="primaryKeyPosition: 1, 2, …",
            )
        elif position in positions:
            document.refuse(
                (*at, "primaryKeyPosition"), f"{name} and {positions[position]} have one position", found=position
            )
        else:
            positions[position] = name
        if any(p["property"] == "tracked" and p["value"] is False for p in column.get("customProperties", ())):
            document.refuse(at, f"the key column {name} cannot be overwritten", found="tracked: false")
    if layer == "silver" and not any("primaryKeyPosition" in column or column.get("primaryKey") for column in columns):
        document.refuse(
            ("schema", 0, "properties"),
            "a silver table needs a key",
            expected="primaryKey: true on a column",
            remedy="For a bronze table say layer: bronze under customProperties varve.",
        )


def _add_rules(document: Document, table: Mapping[str, Any]) -> None:
    owners: list[tuple[Place, Mapping[str, Any]]] = [(("schema", 0), table)]
    owners += [(_column(index), column) for index, column in enumerate(table["properties"])]
    names: set[str] = set()
    for place, owner in owners:
        for index, rule in enumerate(owner.get("quality", ())):
            if rule.get("type") != "custom":
                continue
            at = (*place, "quality", index)
            name, severity, expression = rule.get("name"), rule.get("severity", "error"), rule["implementation"]
            if name is None:
                document.refuse(at, "a quality rule needs a name", found=expression)
            elif not re.fullmatch(NAME, name):
                document.refuse((*at, "name"), "the rule's name is not possible", found=name, expected=_NAMED)
            elif name in names:
                document.refuse(
                    (*at, "name"), f"the rule {name} occurs twice", remedy="Rejects name rules: rename one."
                )
            names.add(name)
            if severity not in ("error", "warning"):
                document.refuse(
                    (*at, "severity"), "the severity is not possible", found=severity, expected="error or warning"
                )
            columns = [column["name"] for column in table["properties"]]
            add_wrong_sql(document, (*at, "implementation"), expression, columns)


def _add_history(document: Document, table: Mapping[str, Any], history: Mapping[str, Any]) -> None:
    index = next(i for i, p in enumerate(table["customProperties"]) if p["property"] == "varve")
    at: Place = ("schema", 0, "customProperties", index, "value", "history")
    types = {column["name"]: str(column.get("physicalType")) for column in table["properties"]}
    named = [(field, history[field]) for field in ("valid_from", "sequence") if isinstance(history.get(field), str)]
    for field in ("order", "tie_break"):
        values = history.get(field)
        named += [(field, name) for name in (values if isinstance(values, list) else []) if isinstance(name, str)]
    for field, name in named:
        if name not in types:
            document.refuse(
                (*at, field),
                f"{field} names no column",
                found=name,
                expected=f"one of {listed(types)}",
                remedy=did_you_mean(name, types),
            )
    order = history.get("order")
    clock = order[0] if isinstance(order, list) and order else history.get("valid_from")
    clock_type = spark_type(types.get(str(clock), ""))
    if clock_type not in (None, "date", "timestamp", "timestamp_ntz"):
        document.refuse(
            (*at, "order" if order else "valid_from"),
            f"valid_from must be a time, {clock} is none",
            found=clock_type,
            expected="date, timestamp or timestamp_ntz",
        )
    if (
        history.get("domain") == "sequence"
        and history.get("sequence") is None
        and not (isinstance(order, list) and len(order) > 1)
    ):
        document.refuse((*at, "domain"), "domain sequence needs a sequence", expected="sequence: <column>")


def add_wrong_sql(document: Document, at: Place, text: Any, columns: Collection[str] | None) -> None:
    """A Spark SQL boolean that cannot be parsed, or names columns that are not there (None: not known)."""
    if not isinstance(text, str) or not text.strip():
        document.refuse(at, "an expression must be text", expected="a Spark SQL boolean")
        return
    import sqlglot  # costs a third of a second: only who has expressions pays
    from sqlglot import exp

    try:
        parsed = sqlglot.parse_one(text, read="spark")
    except sqlglot.errors.SqlglotError as error:
        near = next((e.get("highlight") for e in getattr(error, "errors", ())), None)
        document.refuse(at, "this is not Spark SQL", found=text, remedy=f"Look near {near}." if near else None)
        return
    if isinstance(parsed, (exp.Query, exp.Command, exp.DDL, exp.DML, exp.Block)):
        document.refuse(
            at, "a statement stands where an expression is expected", found=text, expected="a Spark SQL boolean"
        )
        return
    if columns is None:
        return
    known = {name.lower() for name in (*columns, *SCOPE_COLUMNS)}
    for name in sorted({column.name for column in parsed.find_all(exp.Column)}):
        if name.lower() not in known and not name.startswith("_"):
            document.refuse(
                at,
                f"the expression names {name}, which is no column",
                found=text,
                expected=f"one of {listed(columns)}",
                remedy=did_you_mean(name, columns),
            )


def _column(index: int) -> Place:
    return ("schema", 0, "properties", index)
