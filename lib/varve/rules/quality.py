"""PURE. The rules of a contract, applied to a frame in one pass: every row learns all the rules that it breaks.

A rule is broken when its expression is false. An expression that gives null breaks nothing, as with a CHECK of SQL: who
does not want nulls says `required`. A row that deletes (`_deleted`) carries only its key, so only the key is checked.
"""

from __future__ import annotations

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from varve.model.columns import DELETED as DELETED
from varve.model.contract import Contract, Rule
from varve.model.errors import ContractError

FAILED = "_failed"  # array<struct<rule string, reason string>>: the errors; empty = the row is good
WARNED = "_warned"  # array<string>: rules of severity warning that the row breaks

FAILURES = "array<struct<rule:string,reason:string>>"


def failure(rule: str, reason: Column) -> Column:
    """One broken rule: its id and the reason that a person reads."""
    return F.struct(F.lit(rule).alias("rule"), reason.alias("reason"))


def checked(rows: DataFrame, contract: Contract) -> DataFrame:
    """Every row of `rows` with the rules that it breaks.

    rows: the columns of the contract; optionally `_deleted` and `_failed` (what earlier steps found, which is kept).
    Returns rows + (_failed array<struct<rule, reason>>, _warned array<string>).
    Raises ContractError if a rule is no boolean expression over the rows.
    """
    deleted = F.coalesce(F.col(DELETED), F.lit(False)) if DELETED in rows.columns else F.lit(False)
    earlier = [F.col(FAILED)] if FAILED in rows.columns else []
    errors = [*_missing(contract, deleted), *_broken(contract, "error", deleted)]
    failed = F.concat(*earlier, *errors) if earlier or errors else F.array()
    warned = _broken(contract, "warning", deleted)
    names = F.transform(F.concat(*warned), lambda one: one["rule"]) if warned else F.array()
    kept = [F.col(f"`{name}`") for name in rows.columns if name not in (FAILED, WARNED)]
    try:
        return rows.select(*kept, failed.cast(FAILURES).alias(FAILED), names.cast("array<string>").alias(WARNED))
    except AnalysisException as error:
        raise _culprit(rows, contract, error) from error


def good(checked_rows: DataFrame) -> DataFrame:
    """The rows of `checked` that keep every rule of severity error, without the columns that `checked` added."""
    return checked_rows.where(F.size(FAILED) == 0).drop(FAILED, WARNED)


def rejected(checked_rows: DataFrame) -> DataFrame:
    """The rows of `checked` that break a rule of severity error."""
    return checked_rows.where(F.size(FAILED) > 0)


def _missing(contract: Contract, deleted: Column) -> list[Column]:
    """One array per column that must not be null: empty, or the failure."""
    found = []
    for column in contract.columns:
        null = F.col(f"`{column.name}`").isNull()
        if column.key_position is not None:
            absent = failure(f"key:{column.name}", F.lit(f"the key column {column.name} is null"))
            found.append(failed_when(null, absent))
        elif column.required:
            absent = failure(f"required:{column.name}", F.lit(f"the required column {column.name} is null"))
            found.append(failed_when(null & ~deleted, absent))
    return found


def _broken(contract: Contract, severity: str, deleted: Column) -> list[Column]:
    """One array per rule: empty, or the failure."""
    return [
        failed_when(_violated(rule) & ~deleted, failure(rule.name, F.lit(f"`{rule.expression}` does not hold")))
        for rule in contract.rules
        if rule.severity == severity
    ]


def _violated(rule: Rule) -> Column:
    return ~F.coalesce(F.expr(f"({rule.expression})"), F.lit(True))


def failed_when(condition: Column, failed: Column) -> Column:
    """An array with the failure where the condition is true, else an empty one: such arrays concatenate."""
    return F.when(condition, F.array(failed)).otherwise(F.array().cast(FAILURES))


def _culprit(rows: DataFrame, contract: Contract, error: AnalysisException) -> ContractError:
    """Which part of the contract the rows cannot be checked with."""
    where = f"contract {contract.id}"
    if absent := [column.name for column in contract.columns if column.name not in rows.columns]:
        lacking = f"the rows lack the columns {', '.join(absent)}"
        return ContractError(lacking, where=where, found=", ".join(rows.columns))
    for rule in contract.rules:
        try:
            rows.select(_violated(rule))
        except AnalysisException as reason:
            line = str(reason).strip().splitlines()[0]
            return ContractError(
                f"rule {rule.name} cannot be applied: {line}", where=where, found=rule.expression,
                expected="a boolean Spark SQL expression over the columns of the contract",
            )  # fmt: skip
    return ContractError(str(error).strip().splitlines()[0], where=where)
