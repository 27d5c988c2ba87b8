"""Types the records of one extract by its contract. PURE.

Text is read; what arrives typed is cast where the cast loses nothing (`exact`), else its text is read. One record in,
one row out or one reject with a reason. What does not fit its column is null there and stands in `_rescued`, a JSON
list of {field, value, reason}; the value is the text as received:

    unknown field    no column of the contract is received under that name, see `drift`
    wrong type       the text is no value of the column's type
    precision        a number that has more digits than the type, null; a time that has more than microseconds, cut
    skipped time     a local time that its zone's clocks left out; taken as if they had not been put forward yet
    ambiguous time   a local time that its zone's clocks showed twice; taken as the first of the two

Only a record whose key columns cannot be read is rejected: nobody could know what it is about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from varve.bronze.drift import drift, spellings
from varve.bronze.exact import TEXT, exact, in_range, text_of
from varve.model.columns import PROVENANCE
from varve.model.contract import AMBIGUOUS_TIME, SKIPPED_TIME, Contract
from varve.model.contract import Column as Field
from varve.model.scope import SCOPE_COLUMNS, UNKNOWN

_DATE: Final = r"^\d{4}-\d{2}-\d{2}$"
_MIDNIGHT: Final = r"^\d{4}-\d{2}-\d{2}[T ]00:00(:00(\.0+)?)?Z?$"
_ZONE: Final = r"( ?(Z|UTC|[+-]\d{2}(:?\d{2})?))"
_TIMESTAMP: Final = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?%s)?$"
_FLOAT: Final = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[iI]nf(inity)?|[nN]a[nN])$"
_WHOLE: Final = r"^([+-]?\d+)\.0+$"
_FINER: Final = r"\d:\d{2}\.\d{6}\d*[1-9]"  # a seventh digit of the second, or a later one, that is not zero
_FINER_THAN_NANOSECONDS: Final = r"\d:\d{2}\.\d{9}\d*[1-9]"
_BEYOND_MICROSECONDS: Final = r"\d:\d{2}\.\d{6}(\d{1,3})"
_OFFSET: Final = r"\d:\d{2}[0-9:.]*" + _ZONE + "$"


@dataclass(frozen=True, slots=True)
class ScopeColumn:
    """A part of the scope that a column of the records holds. names: value as received -> name in the lake."""

    column: str
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Typing:
    """The expressions that type one set of received columns: made once, used for every extract that has them."""

    received: tuple[Column, ...]
    values: tuple[Column, ...]
    columns: tuple[Column, ...]
    reason: Column
    record: Column


def typing_of(
    columns: Sequence[str],
    contract: Contract,
    null_values: Sequence[str] = (),
    scope: Sequence[ScopeColumn | None] = (None, None),
    types: Sequence[str] = (),
) -> Typing:
    """How to type c0 … cN, received under the names `columns`, by the contract.

    scope: the columns that hold country and entity; None where the whole extract has one; types: of c0 … cN, none when
    all are text."""
    meant = spellings(columns, contract)
    columns = [meant.get(name, name) for name in columns]
    kinds = dict(zip(columns, types or (TEXT,) * len(columns), strict=True))
    received = {name: F.col(f"c{index}") for index, name in enumerate(columns)}
    text = {name: value if kinds[name] == TEXT else text_of(value, kinds[name]) for name, value in received.items()}
    extra = _added_columns(columns, contract)
    known = {c.received_as for c in contract.columns}
    present = [c for c in contract.columns if c.received_as in text]
    exactly = {c.name: _exact(c, received[c.received_as], kinds[c.received_as]) for c in present}
    rescued = [_unfit(c, text[c.received_as], F.col(_typed(c)), is_text=exactly[c.name] is None) for c in present]
    rescued += [
        F.when(text[name].isNotNull(), _entry(name, text[name], "unknown field"))
        for name in columns
        if name not in known and name not in extra
    ]
    scopes = zip(SCOPE_COLUMNS, scope, strict=True)
    return Typing(
        received=tuple(_null_as_null(received[name], null_values).alias(c) for name, c in _names(received)),
        values=tuple(
            (_value(text[c.received_as], c) if (value := exactly[c.name]) is None else value).alias(_typed(c))
            for c in present
        ),
        columns=(
            *((F.col(_typed(c)) if c in present else F.lit(None).cast(c.type)).alias(c.name) for c in contract.columns),
            *(text[name].alias(column) for name, column in extra.items()),
            _listed([entry for entry in rescued if entry is not None]).alias("_rescued"),
            *(F.col(name) if part is None else _scope(part, text).alias(name) for name, part in scopes),
        ),
        reason=_unidentified(contract, text).alias("_reason"),
        record=(_as_json(text) if types else F.col("_record")).alias("_record"),
    )


def typed(records: DataFrame, contract: Contract, typing: Typing) -> DataFrame:
    """All records with their types: the contract's columns [, columns added where it evolves], PROVENANCE, and
    `_reason` (why the record is rejected, else null) and `_record`.

    records: as `raw.read` gives them, with what the extract says of all of its records: (_position bigint, _record
    string, c0 … cN, scope_country, scope_entity, _manifest, _file, _landed_at, _as_of).
    """
    # Two steps, so that a value is computed once: the second sees the first only by name.
    received = records.select("_record", *SCOPE_COLUMNS, *PROVENANCE, *typing.received)
    return received.select("*", *typing.values).select(
        *typing.columns,
        *PROVENANCE,
        F.lit(contract.version).alias("_contract_version"),
        typing.reason,
        typing.record,
    )  # fmt: skip


def rows_of(frame: DataFrame) -> DataFrame:
    """The rows of typed records: the contract's columns [, columns added], `_rescued`, scope, PROVENANCE, version."""
    return frame.where(F.col("_reason").isNull()).drop("_reason", "_record")


def rejects_of(frame: DataFrame) -> DataFrame:
    """The records that are rejected: (scope_country, scope_entity, _manifest, _file, _position, rule, reason,
    _record)."""
    return frame.where(F.col("_reason").isNotNull()).select(
        *SCOPE_COLUMNS, "_manifest", "_file", "_position", F.lit("key").alias("rule"),
        F.col("_reason").alias("reason"), "_record",
    )  # fmt: skip


def _names(text: Mapping[str, Column]) -> list[tuple[str, str]]:
    """(name as received, its column in the frame)."""
    return [(name, f"c{index}") for index, name in enumerate(text)]


def _typed(field: Field) -> str:
    """Where the typed value stands between the two steps; no name of a contract begins like this."""
    return f"__{field.name}"


def _null_as_null(text: Column, null_values: Sequence[str]) -> Column:
    return F.when(~text.isin(*null_values), text) if null_values else text


def _scope(part: ScopeColumn, text: Mapping[str, Column]) -> Column:
    if part.column not in text:
        return F.lit(UNKNOWN)
    name = F.lit(UNKNOWN)
    for value, own in part.names.items():
        name = F.when(text[part.column] == value, own).otherwise(name)
    return name


def _added_columns(columns: Sequence[str], contract: Contract) -> dict[str, str]:
    """Received name -> column that carries it, where the contract lets the table grow."""
    if contract.evolve != "add":
        return {}
    taken = {c.name for c in contract.columns}
    added: dict[str, str] = {}
    for name in drift(columns, contract).added:
        column = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")
        if column and column not in taken:
            taken.add(column)
            added[name] = column
    return added


def _exact(field: Field, value: Column, kind: str) -> Column | None:
    """The value of a column that arrives typed; None where the text has to be read: the contract says how."""
    if kind == TEXT or field.format is not None or (field.zone is not None and kind != "timestamp"):
        return None
    return exact(value, kind, field.type)


def _as_json(text: Mapping[str, Column]) -> Column:
    """A record that arrived typed, as a person reads it; computed for those that are rejected."""
    if not text:
        return F.lit("{}")
    return F.to_json(F.map_from_arrays(F.array(*(F.lit(name) for name in text)), F.array(*text.values())))


def _value(text: Column, field: Field) -> Column:
    """The typed value, null where the text does not fit."""
    kind = field.type
    text = text if kind == "string" else F.trim(text)
    if kind == "string":
        return text
    if kind == "date" and field.format:
        return in_range(F.try_to_timestamp(text, F.lit(field.format)).cast("date"))
    if kind == "date":
        is_date = text.rlike(_DATE) | text.rlike(_MIDNIGHT)
        return in_range(F.when(is_date, F.substring(text, 1, 10).try_cast("date")))
    if kind in ("timestamp", "timestamp_ntz"):
        return in_range(_timestamp(text, field))
    if field.is_exact_time:
        return _nanoseconds(text, field)
    if kind in ("float", "double"):
        value = F.when(text.rlike(_FLOAT), text.try_cast(kind))
        endless = value.isin(float("inf"), float("-inf")) & ~F.lower(text).contains("inf")
        return F.when(~endless, value)
    if kind.startswith("decimal"):
        return F.when(_decimal_fits(text, kind), text.try_cast(kind))
    if kind == "binary":
        return F.try_to_binary(text, F.lit("hex"))
    if field.key_position is not None and kind in ("tinyint", "smallint", "int", "bigint"):
        text = F.regexp_replace(text, _WHOLE, "$1")  # another spelling of the same key
    return text.try_cast(kind)


def _timestamp(text: Column, field: Field) -> Column:
    plain = _as_written(text, field)
    return plain if field.zone is None else _instant(text, plain, field.zone)


def _as_written(text: Column, field: Field) -> Column:
    """The time that the text says, in the offset that it names, without one in UTC."""
    kind = "timestamp_ntz" if field.type == "timestamp_ntz" else "timestamp"
    if field.format is not None and not field.is_exact_time:
        return F.try_to_timestamp(text, F.lit(field.format)).cast(kind)
    zone = "" if kind == "timestamp_ntz" else _ZONE + "?"
    colon = F.regexp_replace(text, r"([+-]\d{2})(\d{2})$", "$1:$2")
    plain = colon if kind == "timestamp_ntz" else F.regexp_replace(colon, r"(\d{2}:\d{2}[0-9:.]*[+-]\d{2})$", "$1:00")
    return F.when(text.rlike(_TIMESTAMP % zone), plain.try_cast(kind))


def _instant(text: Column, plain: Column, zone: str) -> Column:
    """The moment of a local time of a zone; a text that names its offset is a moment already."""
    first, _ = _moments(plain, zone)
    return F.when(text.rlike(_OFFSET), plain).otherwise(first.cast("timestamp"))


def _moments(plain: Column, zone: str) -> tuple[Column, Column]:
    """(the moment at which the zone's clocks showed a time, the one by the offset of the day after), both without zone.

    They differ only near a change of the offset. plain: the local time, as if it were UTC."""
    local, utc = plain.cast("timestamp_ntz"), F.lit("UTC")
    first = F.convert_timezone(F.lit(zone), utc, local)
    day_after = first + F.expr("interval 1 day")
    return first, local - (F.convert_timezone(utc, F.lit(zone), day_after) - day_after)


def _doubt(text: Column, field: Field) -> Column | None:
    """Why the moment of a local time is not sure, null when it is."""
    if field.zone is None:
        return None
    plain = _as_written(text, field)
    local = plain.cast("timestamp_ntz")
    first, second = _moments(plain, field.zone)
    is_shown = F.convert_timezone(F.lit("UTC"), F.lit(field.zone), first) == local
    is_shown_again = (second != first) & (F.convert_timezone(F.lit("UTC"), F.lit(field.zone), second) == local)
    doubt = F.when(~is_shown, SKIPPED_TIME).when(is_shown_again, AMBIGUOUS_TIME)
    return F.when(~text.rlike(_OFFSET), doubt)


def _nanoseconds(text: Column, field: Field) -> Column:
    """Nanoseconds since 1970 UTC: all digits that databases know, which a timestamp cannot hold."""
    beyond = F.rpad(F.regexp_extract(text, _BEYOND_MICROSECONDS, 1), 3, "0").cast("bigint")
    return F.try_add(F.try_multiply(F.unix_micros(_timestamp(text, field)), F.lit(1000)), beyond)


def _decimal_fits(text: Column, kind: str) -> Column:
    """Whether the text has no digit beyond the scale. Spark's cast would round it away in silence."""
    precision, scale = (int(n) for n in re.findall(r"\d+", kind))
    point = F.instr(text, ".")
    digits = F.length(F.rtrim(text, F.lit("0"))) - point
    wide = f"decimal(38,{38 - precision + scale})"
    exponent = F.contains(text, F.lit("e")) | F.contains(text, F.lit("E"))
    same = text.try_cast(wide) == text.try_cast(kind).try_cast(wide)
    return F.when(exponent, same).otherwise((point == 0) | (digits <= scale))


def _unfit(field: Field, text: Column, value: Column, *, is_text: bool) -> Column | None:
    """The entry in `_rescued` for a value that did not fit, null where it did; None for a type that takes any text.

    is_text: whether the text was read; else it stands for a value that was cast."""
    if field.type == "string":
        return None
    reason: Column = F.lit("wrong type")
    lost = text.isNotNull() & value.isNull()
    if field.type.startswith("decimal") or (not is_text and field.type in ("float", "double")):
        reason = F.when(text.try_cast("decimal(38,18)").isNotNull(), "precision").otherwise(reason)
    if is_text and (field.type in ("timestamp", "timestamp_ntz") or field.is_exact_time):
        cut = F.when(text.rlike(_FINER_THAN_NANOSECONDS if field.is_exact_time else _FINER), "precision")
        doubts = [doubt for doubt in (_doubt(text, field), cut) if doubt is not None]
        noted = F.array_compact(F.array(*doubts))
        reason = F.when(value.isNotNull(), F.array_join(noted, ", ")).otherwise(reason)
        lost = text.isNotNull() & (value.isNull() | (F.size(noted) > 0))
    return F.when(lost, _entry(field.received_as, text, reason))


def _entry(name: str, text: Column, reason: str | Column) -> Column:
    why = F.lit(reason) if isinstance(reason, str) else reason
    return F.struct(F.lit(name).alias("field"), text.alias("value"), why.alias("reason"))


def _listed(entries: Sequence[Column]) -> Column:
    if not entries:
        return F.lit(None).cast("string")
    found = F.array_compact(F.array(*entries))
    return F.when(F.size(found) > 0, F.to_json(found))


def _unidentified(contract: Contract, text: Mapping[str, Column]) -> Column:
    """Why the record cannot be identified, null when every key column can be read."""
    reasons = []
    for name in contract.keys:
        field = contract.column(name)
        if (value := text.get(field.received_as)) is None:
            reasons.append(F.lit(f"key column {field.received_as} is missing"))
            continue
        shown = F.lit("a value") if field.personal else F.concat(F.lit("'"), F.substring(value, 1, 80), F.lit("'"))
        unfit = F.concat(F.lit(f"key column {field.received_as}: found "), shown, F.lit(f", expected {field.type}"))
        why = F.when(value.isNull(), F.lit(f"key column {field.received_as} is null")).otherwise(unfit)
        reasons.append(F.when(F.col(_typed(field)).isNull(), why))
    return F.coalesce(*reasons) if reasons else F.lit(None).cast("string")
