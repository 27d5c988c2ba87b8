"""One key of an entity, as a person names it on the command line: its rows in the log or in the versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from varve.model.errors import UsageError
from varve.model.scope import Scope


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


def rows_of_key(frame: DataFrame, values: Mapping[str, str], scope: Scope | None) -> DataFrame:
    """The rows that have these values, given as text, in one scope or in all.

    Raises UsageError when a text is no value of its column's type."""
    types = {column: frame.schema[column].dataType for column in values}
    typed = {column: F.lit(value).try_cast(types[column]) for column, value in values.items()}
    known = frame.sparkSession.range(1).select(*(F.isnotnull(one).alias(column) for column, one in typed.items()))
    for column, is_value in known.collect()[0].asDict().items():
        if not is_value:
            raise UsageError(
                f"that is no value of {column}", where="--key", found=values[column],
                expected=types[column].simpleString(),
            )  # fmt: skip
    for column, value in typed.items():
        frame = frame.filter(F.col(column) == value)
    if scope is not None:
        frame = frame.filter((F.col("scope_country") == scope.country) & (F.col("scope_entity") == scope.entity))
    return frame
