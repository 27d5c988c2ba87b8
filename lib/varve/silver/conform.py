"""PURE. Bronze rows of several sources -> observations of one silver entity.

Column by column, the feed of the contract is enough. Where a source differs by more, the company has a conform function
for it, see `transforms`: the caller gives it. It makes the contract's columns and keeps `CARRIED`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import IntegralType

from varve.model.columns import CARRIED, DELETED, RESCUED, SEQUENCE, VALID_FROM
from varve.model.contract import AMBIGUOUS_TIME, SKIPPED_TIME, Contract, Feed, HistoryRules
from varve.model.errors import ContractError
from varve.privacy.pseudonyms import PseudonymKey, pseudonymised, silver_schema
from varve.rules import quality
from varve.rules.codes import CodeList, mapped

__all__ = ["CARRIED", "SEQUENCE", "VALID_FROM", "Conform", "conformed", "observations"]

Conform = Callable[[DataFrame], DataFrame]


def observations(
    bronze: DataFrame,
    contract: Contract,
    feed: Feed,
    *,
    source: str,
    lists: Mapping[str, CodeList],
    key: PseudonymKey | None,
    rules: HistoryRules | None = None,
    conform: Conform | None = None,
) -> DataFrame:
    """What the bronze rows of one source say about the entity: conformed, checked and pseudonymised.

    bronze: rows of `feed.bronze` with PROVENANCE and the scope. source: whose codes they hold.
    rules: what the contract of the bronze table says of order and deletes; absent: what the entity's contract says.
    conform: the conform function of the feed; absent: its columns are mapped one by one.
    Returns the contract's columns (as `pseudonyms.silver_schema`), CARRIED, `_failed` and `_warned` of
    `quality.checked`: one row per observation, the bad ones among them, so that a bad row of a snapshot is not taken
    for an absent one.
    """
    timeless = quality.failure("valid_from", F.lit("the row does not say since when it holds"))
    rows = conformed(bronze, contract, feed, rules, conform)
    rows = rows.withColumn(quality.FAILED, quality.failed_when(F.col(VALID_FROM).isNull(), timeless))
    translated = mapped(rows, contract, lists, source=source, at=VALID_FROM)
    checked = quality.checked(translated, contract)
    checked = checked.withColumn(quality.WARNED, F.concat(quality.WARNED, _doubtful_times()))
    return pseudonymised(checked, contract, key).select(
        *(_as(name, kind) for name, kind in _silver_types(contract)), *CARRIED, quality.FAILED, quality.WARNED
    )


def _doubtful_times() -> Column:
    """Warnings of rows with a local time whose moment bronze could not be sure of."""
    found = [  # quotes within a value are escaped in JSON, so only the field `reason` is met
        F.when(F.contains(RESCUED, F.lit(f'"reason":"{doubt}')), F.lit(doubt.replace(" ", "_")))
        for doubt in (AMBIGUOUS_TIME, SKIPPED_TIME)
    ]
    return F.array_compact(F.array(*found))


def conformed(
    bronze: DataFrame, contract: Contract, feed: Feed, rules: HistoryRules | None = None, conform: Conform | None = None
) -> DataFrame:
    """The bronze rows with the entity's columns, in the types of the contract, and CARRIED.

    A column with a code list still holds the source's code (string). What does not fit a type becomes null.
    Raises ContractError if a column is neither in bronze nor made by a conform function.
    """
    rules = rules or contract.history or HistoryRules()
    ours = set(contract.names)
    before = {  # what the rules take from bronze columns must be read before these are gone
        DELETED: F.expr(f"coalesce(({rules.deleted_when}), false)") if rules.deleted_when else F.lit(False),
        VALID_FROM: F.col("_as_of") if rules.valid_from in (None, *ours) else F.col(str(rules.valid_from)),
        SEQUENCE: F.lit(None).cast("bigint") if rules.sequence in (None, *ours) else F.col(str(rules.sequence)),
    }
    after = {VALID_FROM: rules.valid_from, SEQUENCE: rules.sequence}
    where = f"contract {contract.id}, feed {feed.bronze}"
    rescued = {} if RESCUED in bronze.columns else {RESCUED: F.lit(None).cast("string")}
    try:
        rows = bronze.withColumns({**before, **rescued})
        rows = _by_feed(rows, contract, feed) if conform is None else _keeping(conform(rows), where)
        rows = rows.withColumns({to: F.col(f"`{name}`") for to, name in after.items() if name in ours})
        typed = [_typed(column.name, "string" if column.codes else column.type) for column in contract.columns]
        if isinstance(rows.schema[SEQUENCE].dataType, IntegralType):  # of every feed alike: one log holds them all
            rows = rows.withColumn(SEQUENCE, F.col(SEQUENCE).cast("bigint"))
        return rows.withColumn(VALID_FROM, F.col(VALID_FROM).try_cast("timestamp")).select(*typed, *CARRIED)
    except AnalysisException as error:
        raise ContractError(
            str(error).strip().splitlines()[0], where=where, found=", ".join(bronze.columns),
            remedy="Map the column in the feed, or make it in the feed's conform function.",
        ) from error  # fmt: skip


def _keeping(rows: DataFrame, where: str) -> DataFrame:
    """What a conform function made, if it kept CARRIED."""
    if lost := [name for name in CARRIED if name not in rows.columns]:
        remedy = "Select *CARRIED beside the entity's columns."
        raise ContractError("the conform function loses columns", where=where, found=", ".join(lost), remedy=remedy)
    return rows


def _by_feed(rows: DataFrame, contract: Contract, feed: Feed) -> DataFrame:
    named = (F.col(f"`{feed.columns.get(column.name, column.name)}`").alias(column.name) for column in contract.columns)
    return rows.select(*named, *CARRIED)


def _typed(name: str, kind: str) -> Column:
    """The column in a type; what cannot be cast becomes null, which `required` rejects with the row."""
    return F.col(f"`{name}`").try_cast(kind).alias(name)


def _silver_types(contract: Contract) -> list[tuple[str, str]]:
    return [(field.name, field.dataType.simpleString()) for field in silver_schema(contract).fields]


def _as(name: str, kind: str) -> Column:
    return F.col(f"`{name}`").cast(kind).alias(name)
