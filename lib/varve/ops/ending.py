"""How a task ends when an error ends it: its exit code, and what its row says."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from varve.model.errors import ParkedError, TransformError, VarveError
from varve.ops.journal import Row, RowStatus
from varve.spark.failures import condition_of_row

# When scopes fail differently: a defect, then a wrong configuration, then what may pass by itself, then parked work.
PRECEDENCE: Final = (1, 2, 4, 3, 0)


def exit_code(error: BaseException) -> int:
    """What the process ends with if this error ends it."""
    return error.exit_code if isinstance(error, VarveError) else 1


def of_a_row(error: BaseException, step: str, table: str) -> BaseException:
    """The error; as one of the company's own where an expression of an entity failed for the values of a row."""
    condition = condition_of_row(error) if step == "silver" and not isinstance(error, VarveError) else None
    if condition is None:
        return error
    failure = TransformError(
        "a rule of the contract or the conform function fails on a row", where=table, found=condition
    )
    failure.__cause__ = error
    return failure


def status_of(error: BaseException) -> RowStatus:
    """What the row of a task says that this error ended."""
    return "parked" if isinstance(error, ParkedError) else "failed"


def failed_row(row: Row, error: BaseException) -> Row:
    """The row of a task that an error ended."""
    return with_error(replace(row, status=status_of(error)), error)


def with_error(row: Row, error: BaseException) -> Row:
    """The row with what the error says. Of an unexpected error only its name: its message may quote somebody's data."""
    if isinstance(error, VarveError):
        text = str(error).removesuffix(f". {error.remedy}")
        return replace(row, error=text, reason=error.what, remedy=error.remedy)
    if isinstance(error, KeyboardInterrupt):
        return replace(row, error="interrupted", reason="interrupted")
    condition = getattr(error, "getCondition", lambda: None)()  # Spark's name of the error, without its parameters
    name = type(error).__name__ if condition is None else f"{type(error).__name__} [{condition}]"
    return replace(row, error=name, reason=name)
