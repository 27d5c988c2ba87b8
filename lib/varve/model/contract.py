"""What a table is: its columns, keys, rules, history and where its rows come from. Values only; read by `config`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from varve.model.errors import ContractError

if TYPE_CHECKING:
    from pyspark.sql.types import DataType, StructType

Layer = Literal["bronze", "silver", "gold"]

# Spark's name of a type and the other spellings that mean the same.
_TYPES: Final[Mapping[str, str]] = {
    "string": "string", "boolean": "boolean", "binary": "binary", "date": "date",
    "timestamp": "timestamp", "timestamp_ltz": "timestamp", "timestamp_ntz": "timestamp_ntz",
    "tinyint": "tinyint", "byte": "tinyint", "smallint": "smallint", "short": "smallint",
    "int": "int", "integer": "int", "bigint": "bigint", "long": "bigint",
    "float": "float", "real": "float", "double": "double",
}  # fmt: skip
_DECIMAL: Final = re.compile(r"(?:decimal|numeric|dec)\( *([0-9]+) *, *([0-9]+) *\)")
EXPECTED_TYPE: Final = (
    "string, boolean, tinyint, smallint, int, bigint, float, double, decimal(p,s), "
    "date, timestamp, timestamp_ntz or binary"
)

SKIPPED_TIME: Final = "skipped time"  # in `_rescued`: why the moment of a local time is not sure
AMBIGUOUS_TIME: Final = "ambiguous time"
EXACT_TIME: Final = "timestamp"  # the format of a bigint that holds the nanoseconds of a time


def spark_type(text: str) -> str | None:
    """The Spark DDL type that `text` names (`Long` -> `bigint`, `numeric(19, 4)` -> `decimal(19,4)`), None if none."""
    name = text.strip().lower()
    if match := _DECIMAL.fullmatch(name):
        precision, scale = int(match[1]), int(match[2])
        return f"decimal({precision},{scale})" if 1 <= precision <= 38 and scale <= precision else None
    return _TYPES.get(name)


def bronze_table(source: str, dataset: str) -> str:
    """The name of the bronze table of a dataset."""
    return f"{source}_{dataset}"


@dataclass(frozen=True, slots=True)
class Personal:
    """kind: direct (names a person), indirect (narrows down) or free_text; subject: whose data it is, e.g. debtor."""

    kind: Literal["direct", "indirect", "free_text"]
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """One column. type: Spark's DDL type; source_name: its name as received.

    format: a pattern for dates and times; `timestamp` of a bigint: the text is a time, the value its nanoseconds since
    1970 UTC, for sequences that are finer than a timestamp. zone: the IANA zone of times that are received without an
    offset; None: they are UTC.
    """

    name: str
    type: str
    required: bool = False
    key_position: int | None = None
    personal: Personal | None = None
    source_name: str | None = None
    format: str | None = None
    zone: str | None = None
    codes: str | None = None
    tracked: bool = True  # false: overwritten in place, opens no version
    description: str = ""

    @property
    def is_exact_time(self) -> bool:
        """Whether the column holds the nanoseconds of a time."""
        return self.type == "bigint" and self.format == EXACT_TIME

    @property
    def received_as(self) -> str:
        """The name in what the source sends."""
        return self.source_name or self.name


@dataclass(frozen=True, slots=True)
class Rule:
    """A quality rule: a row keeps it when the Spark SQL boolean `expression` is not false."""

    name: str
    expression: str
    severity: Literal["error", "warning"] = "error"
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Guard:
    """Limits per scope beyond which a snapshot is parked."""

    min_rows: int = 1  # [rows]
    max_deleted_share: float = 0.1  # [0..1] of the open rows
    max_rejected_share: float = 1.0  # [0..1] of the records received


@dataclass(frozen=True, slots=True)
class HistoryRules:
    """How changes are ordered in the life of a key: position = (valid_from, sequence, tie_break)."""

    valid_from: str | None = None  # column with the business time; None: the manifest's as_of
    sequence: str | None = None
    tie_break: tuple[str, ...] = ()
    deleted_when: str | None = None  # Spark SQL boolean over the bronze columns
    domain: Literal["time", "sequence"] = "time"


@dataclass(frozen=True, slots=True)
class Feed:
    """A bronze table that feeds a silver one. columns: silver column -> bronze column; absent: the same name."""

    bronze: str
    columns: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Contract:
    """A table. `table` is `<source>_<dataset>` in bronze, the entity in silver, the mart in gold."""

    id: str
    version: str
    table: str
    layer: Layer
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()
    history: HistoryRules | None = None
    guard: Guard | None = None
    feeds: tuple[Feed, ...] = ()
    evolve: Literal["rescue", "add"] = "rescue"
    retain: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
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
        from pyspark.sql.types import StructField, StructType

        return StructType([StructField(c.name, _data_type(c.type), nullable=True) for c in self.columns])


def _data_type(name: str) -> DataType:
    """The Spark type of a DDL name, parsed without a session."""
    from pyspark.sql import types as T

    if name.startswith("decimal"):
        precision, scale = name[len("decimal(") : -1].split(",")
        return T.DecimalType(int(precision), int(scale))
    types: Mapping[str, DataType] = {
        "string": T.StringType(), "boolean": T.BooleanType(), "binary": T.BinaryType(), "date": T.DateType(),
        "timestamp": T.TimestampType(), "timestamp_ntz": T.TimestampNTZType(),
        "tinyint": T.ByteType(), "smallint": T.ShortType(), "int": T.IntegerType(), "bigint": T.LongType(),
        "float": T.FloatType(), "double": T.DoubleType(),
    }  # fmt: skip
    return types[name]
