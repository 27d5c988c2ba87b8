"""What a table is: its columns, keys, rules, history and where its rows come from. Values only; read by `config`.

They check themselves when they are made: pydantic's ValidationError says what is wrong, and `config` says it with file
and line. What is wrong between their parts (a key without a position, a rule over a column that is not there) is found
by `config` too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import InitVar, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AliasChoices, BeforeValidator, Field, ValidationInfo
from pydantic.dataclasses import dataclass

from varve.model.errors import ContractError
from varve.model.fields import IN_WORDS, NAME, SHAPE, Count, Duration, Flag, Name, Share, Zone, like, only, wrong

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

Layer = Literal["bronze", "silver", "gold"]

EXPECTED_TYPE: Final = (
    "string, boolean, tinyint, smallint, int, bigint, float, double, decimal(p,s), "
    "date, timestamp, timestamp_ntz or binary"
)
_TYPES: Final = frozenset(EXPECTED_TYPE.replace(",", " ").split()) - {"or", "decimal(p", "s)"}
_OTHER_SPELLINGS: Final[Mapping[str, str]] = {
    "timestamp_ltz": "timestamp", "byte": "tinyint", "short": "smallint", "integer": "int", "long": "bigint",
    "real": "float",
}  # fmt: skip
_JSON_SPELLINGS: Final[Mapping[str, str]] = {
    "tinyint": "byte", "smallint": "short", "int": "integer", "bigint": "long",
}  # fmt: skip
_DECIMAL: Final = re.compile(r"(?:decimal|numeric|dec)\( *([0-9]+) *, *([0-9]+) *\)")

SKIPPED_TIME: Final = "skipped time"  # in `_rescued`: why the moment of a local time is not sure
AMBIGUOUS_TIME: Final = "ambiguous time"
EXACT_TIME: Final = "timestamp"  # the format of a bigint that holds the nanoseconds of a time


def spark_type(text: str) -> str | None:
    """The Spark DDL type that `text` names (`Long` -> `bigint`, `numeric(19, 4)` -> `decimal(19,4)`), None if none."""
    name = text.strip().lower()
    if match := _DECIMAL.fullmatch(name):
        precision, scale = int(match[1]), int(match[2])
        return f"decimal({precision},{scale})" if 1 <= precision <= 38 and scale <= precision else None
    name = _OTHER_SPELLINGS.get(name, name)
    return name if name in _TYPES else None


def bronze_table(source: str, dataset: str) -> str:
    """The name of the bronze table of a dataset."""
    return f"{source}_{dataset}"


def _column_type(text: Any, info: ValidationInfo) -> str:
    column = info.data.get("name")
    if text is None:
        raise wrong(f"the column {column} has no physicalType", expected=EXPECTED_TYPE)
    if (known := spark_type(str(text))) is None:
        raise wrong(f"the type of {column} is unknown", found=text, expected=EXPECTED_TYPE)
    return known


@dataclass(frozen=True, slots=True, config=SHAPE)
class Personal:
    """kind: direct (names a person), indirect (narrows down) or free_text; subject: whose data it is, e.g. debtor."""

    kind: Literal["direct", "indirect", "free_text"]
    subject: Name | None = None


@dataclass(frozen=True, slots=True, config=SHAPE)
class Column:
    """One column. type: Spark's DDL type."""

    name: str
    type: Annotated[str, BeforeValidator(_column_type)] = Field(validation_alias=AliasChoices("type", "physicalType"))
    required: bool = False
    key_position: int | None = None
    personal: Personal | None = None
    source_name: str | None = Field(default=None, validation_alias=AliasChoices("source_name", "source"))
    """The name as received."""
    format: str | None = None
    """A pattern for dates and times; `timestamp` of a bigint: the nanoseconds since 1970 UTC of the time that is
    received, for sequences that are finer than a timestamp."""
    zone: Zone | None = None
    """The IANA zone of times that are received without an offset; absent: they are UTC."""
    codes: str | None = None
    tracked: Flag = True
    """false: overwritten in place, opens no version."""
    description: str = ""

    @property
    def is_exact_time(self) -> bool:
        """Whether the column holds the nanoseconds of a time."""
        return self.type == "bigint" and self.format == EXACT_TIME

    @property
    def received_as(self) -> str:
        """The name in what the source sends."""
        return self.source_name or self.name


@dataclass(frozen=True, slots=True, config=SHAPE)
class Rule:
    """A quality rule: a row keeps it when the Spark SQL boolean `expression` is not false."""

    name: Annotated[str, only(like(NAME), "the rule's name is not possible", expected=IN_WORDS[NAME])]
    expression: str = Field(validation_alias=AliasChoices("expression", "implementation"))
    severity: Annotated[
        str, only(("error", "warning").__contains__, "the severity is not possible", expected="error or warning")
    ] = "error"
    column: str | None = None


@dataclass(frozen=True, slots=True, config=SHAPE)
class Guard:
    """Limits per scope beyond which a snapshot is parked."""

    min_rows: Count = 1  # [rows]
    max_deleted_share: Share = 0.1  # [0..1] of the open rows
    max_rejected_share: Share = 1.0  # [0..1] of the records received


@dataclass(frozen=True, slots=True, config=SHAPE)
class HistoryRules:
    """How changes are ordered in the life of a key: position = (valid_from, sequence, tie_break)."""

    valid_from: str | None = None
    """The column with the business time; absent: the manifest's as_of."""
    sequence: str | None = None
    """Of two changes at the same time the one with the greater sequence holds."""
    tie_break: tuple[str, ...] = ()
    deleted_when: str | None = None
    """Spark SQL boolean over the bronze columns: the row says that the key is deleted."""
    domain: Literal["time", "sequence"] = "time"
    order: InitVar[tuple[str, ...]] = ()
    """Short for three of the above: [valid_from, sequence, tie_break …]."""

    def __post_init__(self, order: tuple[str, ...]) -> None:
        if order and (self.valid_from or self.sequence or self.tie_break):
            what = "order says the same as valid_from, sequence and tie_break"
            raise wrong(what, expected="one of both ways", field="order")
        for name, value in zip(("valid_from", "sequence"), order, strict=False):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "tie_break", order[2:] or self.tie_break)


@dataclass(frozen=True, slots=True, config=SHAPE)
class Feed:
    """A bronze table that feeds a silver one. columns: silver column -> bronze column; absent: the same name."""

    bronze: Name
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, config=SHAPE)
class Contract:
    """A table. `table` is `<source>_<dataset>` in bronze, the entity in silver, the mart in gold."""

    id: str
    version: str
    table: Annotated[str, only(like(NAME), "the table's name is not possible", expected=IN_WORDS[NAME])]
    layer: Layer
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()
    history: HistoryRules | None = None
    guard: Guard | None = None
    feeds: tuple[Feed, ...] = ()
    evolve: Literal["rescue", "add"] = "rescue"
    retain: Mapping[Literal["raw", "history"], Duration] = field(default_factory=dict)
    description: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the key columns in the order of their position."""
        positions = sorted((c.key_position, c.name) for c in self.columns if c.key_position is not None)
        return tuple(name for _, name in positions)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns in the order of the contract."""
        return tuple(c.name for c in self.columns)

    def column(self, name: str) -> Column:
        """The column of that name; raises ContractError when there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise ContractError(f"there is no column {name}", where=f"contract {self.id}", expected=", ".join(self.names))

    def schema(self) -> StructType:
        """The columns as a Spark schema; all nullable, because Delta's nulls are checked by rules and not by files."""
        from pyspark.sql.types import StructType

        types = {c.name: _JSON_SPELLINGS.get(c.type, c.type) for c in self.columns}
        fields = [{"name": n, "type": kind, "nullable": True, "metadata": {}} for n, kind in types.items()]
        return StructType.fromJson({"type": "struct", "fields": fields})
