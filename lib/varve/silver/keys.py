"""One key of an entity, as a person names it on the command line: its rows in the log or in the versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from varve.errors import UsageError
from varve.scope import Scope


def key_of(keys: Sequence[str], given: Sequence[str]) -> dict[str, str]:
    """The value of every key column; names may be left out when the values come in the order of the key."""
    found: dict[str, str] = {}
    for place, text in enumerate(given):
        name, equals, value = text.partition("=")
        if not equals:
            name, value = (keys[place] if place < len(keys) else "?"), text
        found[name] = value
    if set(found) != set(keys):
        raise UsageError(
            "that is not the key of the entity", where="--key", found=", ".join(given), expected=", ".join(keys)
        )
    return found


def rows_of(frame: DataFrame, values: Mapping[str, str], scope: Scope | None) -> DataFrame:
    """The rows that have these values, given as text, in one scope or in all."""
    for column, value in values.items():
        frame = frame.filter(F.col(column) == F.lit(value).cast(frame.schema[column].dataType))
    if scope is not None:
        frame = frame.filter((F.col("scope_country") == scope.country) & (F.col("scope_entity") == scope.entity))
    return frame
