"""What arrives typed stays typed: the Arrow types that raw holds, and how others become one of them.

Text is for whatever no type of Spark can hold: nanoseconds, times of a day, nested values (as JSON), wide decimals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.types as kinds

_NAMES: Final = {
    pa.string(): "string", pa.bool_(): "boolean", pa.binary(): "binary", pa.date32(): "date",
    pa.int8(): "tinyint", pa.int16(): "smallint", pa.int32(): "int", pa.int64(): "bigint",
    pa.float32(): "float", pa.float64(): "double",
    pa.timestamp("us", "UTC"): "timestamp", pa.timestamp("us"): "timestamp_ntz",
}  # fmt: skip
_WIDER: Final = {
    pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.uint64(): pa.decimal128(20),
    pa.float16(): pa.float32(), pa.date64(): pa.date32(), pa.null(): pa.string(),
}  # fmt: skip


class TypedRecords(NamedTuple):
    """Records that arrive typed, many at once. positions: their 1-based numbers in what was received, int64; fields: an
    array per column, of a type that `stored` gives."""

    positions: pa.Array
    fields: Sequence[pa.Array]


def type_name(kind: pa.DataType) -> str:
    """Spark's name of a type that `stored` gives."""
    return f"decimal({kind.precision},{kind.scale})" if kinds.is_decimal(kind) else _NAMES[kind]


def stored(array: pa.Array) -> pa.Array:
    """The same values in a type that raw holds."""
    kind = array.type
    if kind in _NAMES:
        return array
    if isinstance(array, pa.ExtensionArray):
        return stored(array.storage)
    if kinds.is_dictionary(kind):
        return stored(array.dictionary_decode())
    if kinds.is_run_end_encoded(kind):
        return stored(pa.compute.run_end_decode(array))
    if kinds.is_nested(kind):
        return pa.array(_json(array), pa.string())
    return array.cast(_target(kind))


def _target(kind: pa.DataType) -> pa.DataType:
    """The type that holds all values of another one that is not nested."""
    if kinds.is_decimal(kind) and kind.precision <= 38 and 0 <= kind.scale <= kind.precision:
        return pa.decimal128(kind.precision, kind.scale)
    if kinds.is_timestamp(kind) and kind.unit != "ns":
        return pa.timestamp("us", kind.tz and "UTC")
    if kinds.is_large_binary(kind) or kinds.is_fixed_size_binary(kind) or kinds.is_binary_view(kind):
        return pa.binary()
    return _WIDER.get(kind, pa.string())


def _json(array: pa.Array) -> list[str | None]:
    plain = array.cast(_without_nanoseconds(array.type))  # Python has no time that is so fine
    return [None if value is None else msgspec.json.encode(value, enc_hook=str).decode() for value in plain.to_pylist()]


def _without_nanoseconds(kind: pa.DataType) -> pa.DataType:
    """The type with text in the place of times in nanoseconds."""
    if kinds.is_timestamp(kind) and kind.unit == "ns":
        return pa.string()
    if kinds.is_struct(kind):
        return pa.struct([field.with_type(_without_nanoseconds(field.type)) for field in kind])
    if kinds.is_map(kind):
        return pa.map_(_without_nanoseconds(kind.key_type), _without_nanoseconds(kind.item_type))
    if kinds.is_large_list(kind):
        return pa.large_list(_without_nanoseconds(kind.value_type))
    if kinds.is_list(kind) or kinds.is_fixed_size_list(kind):
        return pa.list_(_without_nanoseconds(kind.value_type))
    return kind


def texts(array: pa.Array) -> list[str | None]:
    """The values as text that loses nothing: bytes in hexadecimal, numbers as Python writes them."""
    values = array.to_pylist()
    if kinds.is_binary(array.type):
        return [None if value is None else value.hex() for value in values]
    if kinds.is_boolean(array.type):
        return [None if value is None else str(value).lower() for value in values]
    return [None if value is None else str(value) for value in values]
