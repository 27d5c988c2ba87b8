"""Values that arrive typed: the type of the contract by a cast that loses nothing, and their text. PURE.

kind: the type that a value arrives with, as Spark names it. A value that does not fit is null; whoever asks says why.
"""

from __future__ import annotations

import re
from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F

TEXT: Final = "string"
_INTEGERS: Final = ("tinyint", "smallint", "int", "bigint")
_FLOATS: Final = ("float", "double")
_SAME: Final = ("boolean", "binary", *_INTEGERS, *_FLOATS)
_BEYOND_BIGINT: Final = 2.0**63


def text_of(value: Column, kind: str) -> Column:
    """The value as text: bytes in hexadecimal, a moment in UTC with Z, numbers without an exponent where one can read
    them."""
    if kind == "binary":
        return F.lower(F.hex(value))
    if kind == "timestamp":
        return F.concat(value.cast("string"), F.lit("Z"))
    if kind in _FLOATS:
        plain = value.cast("string").cast("double").cast("decimal(38,21)").cast("string")
        size = F.abs(value)
        is_plain = ((size >= 1e-4) & (size < 1e16)) | (size == 0)
        return F.when(is_plain, F.regexp_replace(plain, r"(\.\d+?)0+$", "$1")).otherwise(value.cast("string"))
    return value.cast("string")


def exact(value: Column, kind: str, wanted: str) -> Column | None:
    """The value in the wanted type, null where it would not be the same; None where its text has to be read."""
    if wanted in ("date", "timestamp", "timestamp_ntz"):
        local = kind == "timestamp_ntz" and wanted == "timestamp"  # a time without a zone is UTC
        return in_range(value).cast(wanted) if kind == wanted or local else None
    if kind == wanted and kind in _SAME:
        return value
    if not (_is_number(kind) and _is_number(wanted)):
        return None
    if kind in _FLOATS:
        return _from_float(value, kind, wanted)
    if wanted in _FLOATS:
        near = value.cast(wanted)
        return F.when(_back(near, kind) == value, near)
    near = value.try_cast(wanted)
    return near if kind in _INTEGERS else F.when(near.try_cast(kind) == value, near)


def in_range(value: Column) -> Column:
    """The date or time; null before year 1 and after 9999, in UTC, which Python and most databases cannot hold."""
    return F.when(F.year(value).between(1, 9999), value)


def _is_number(kind: str) -> bool:
    return kind in _INTEGERS or kind in _FLOATS or kind.startswith("decimal")


def _from_float(value: Column, kind: str, wanted: str) -> Column:
    if wanted == "double":  # of its shortest text: 0.1 stays 0.1
        return value.cast("string").cast(wanted)
    if wanted == "float":  # the nearest is the same where both are written alike: 0.1
        near = value.cast(wanted)
        return F.when(near.cast("string") == value.cast("string"), near)
    if wanted in _INTEGERS:
        near = F.when(F.abs(value) < _BEYOND_BIGINT, value).try_cast(wanted)
        return F.when(near.cast(kind) == value, near)
    near = value.cast("string").try_cast(wanted)
    return F.when(near.cast(kind) == value, near)


def _back(near: Column, kind: str) -> Column:
    """A floating number as the exact one that it came from."""
    if kind in _INTEGERS:
        return F.when(F.abs(near) < _BEYOND_BIGINT, near).try_cast(kind)
    precision, scale = (int(n) for n in re.findall(r"\d+", kind))
    return near.cast("string").try_cast(f"decimal({precision},{scale})")
