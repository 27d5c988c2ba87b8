"""Positions in the life of a key: which of two comes first, in Spark and in Python."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from varve.history import Policy
from varve.model.clock import microseconds

STATISTICS_STEP: Final = timedelta(milliseconds=1)  # Delta keeps the greatest timestamp of a file in whole milliseconds

Place = tuple[Any, ...]  # a position that Python can sort


def is_before(policy: Policy, as_of: Column, sequence: Column) -> Column:
    """Whether a change lies before the position (as_of, sequence), nulls lowest."""
    own = F.col("sequence")
    lower = sequence.isNotNull() & (own.isNull() | F.coalesce(own < sequence, F.lit(False)))
    if policy.domain == "sequence":
        return lower
    return (F.col("valid_from") < as_of) | ((F.col("valid_from") == as_of) & lower)


def is_at(policy: Policy, as_of: Column, sequence: Column) -> Column:
    """Whether a change stands at the position (as_of, sequence)."""
    same = F.col("sequence").eqNullSafe(sequence)
    return same if policy.domain == "sequence" else same & (F.col("valid_from") == as_of)


def is_at_or_before(policy: Policy, as_of: str, sequence: str) -> Column:
    """Whether a change lies at the position that two columns hold, or before it."""
    return is_before(policy, F.col(as_of), F.col(sequence)) | is_at(policy, F.col(as_of), F.col(sequence))


def place_of(statements: DataFrame, policy: Policy) -> Column:
    """What orders statements across keys, times as microseconds since 1970: PySpark collects a timestamp in the time
    zone of the machine."""
    is_time = {name: isinstance(statements.schema[name].dataType, T.TimestampType) for name in policy.order}
    return F.struct(*(F.unix_micros(name).alias(name) if is_time[name] else F.col(name) for name in policy.order))


def sortable(position: Iterable[Any]) -> Place:
    """A position that Python orders as Spark does: nulls lowest, times as microseconds since 1970."""
    values = (microseconds(v) if isinstance(v, datetime) else v for v in position)
    return tuple((value is not None, value or 0) for value in values)
