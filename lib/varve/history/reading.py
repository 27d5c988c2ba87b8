"""Versions as a reader wants them: at a moment, by what was known then, or as AUTO CDC has them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from varve.history import law
from varve.history.policy import Policy
from varve.model.columns import VERSION_COLUMNS


def is_valid_at(moment: datetime) -> str:
    """The SQL predicate of the live versions that were valid at a moment (UTC where it names no offset)."""
    at = f"timestamp '{moment if moment.tzinfo else moment.replace(tzinfo=UTC)}'"
    return f"valid_from <= {at} and (valid_to is null or valid_to > {at}) and not is_deleted"


def as_of(versions: DataFrame, valid_at: datetime) -> DataFrame:
    """The live rows that were valid at that moment (UTC)."""
    return versions.filter(is_valid_at(valid_at))


def known(changes: DataFrame, known_at: datetime) -> DataFrame:
    """The changes that had been recorded by a moment (UTC)."""
    return changes.filter(F.col("recorded_at") <= F.lit(known_at))


def as_known(changes: DataFrame, valid_at: datetime, known_at: datetime, policy: Policy) -> DataFrame:
    """The live rows that were valid at `valid_at` by what had been recorded by `known_at` (both UTC)."""
    return as_of(law.timeline(known(changes, known_at), policy), valid_at)


def auto_cdc(versions: DataFrame) -> DataFrame:
    """The versions as Databricks AUTO CDC keeps them (SCD type 2), for moving there or from there.

    Returns the entity's own columns, __START_AT and __END_AT (null = last); a deleted stretch is a gap. There the two
    hold the sequence, here always valid_from and valid_to."""
    return versions.filter(AUTO_CDC_ROWS).selectExpr(*auto_cdc_columns(versions.columns))


AUTO_CDC_ROWS: Final = "not is_deleted"


def auto_cdc_columns(columns: Sequence[str]) -> list[str]:
    """Of the columns of versions, as SQL, those of `auto_cdc`."""
    own = [f"`{c}`" for c in columns if c not in VERSION_COLUMNS]
    return [*own, "valid_from as __START_AT", "valid_to as __END_AT"]
