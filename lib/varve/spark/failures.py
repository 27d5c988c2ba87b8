"""Spark's errors, distinguished: a data file that is lost or broken, a row that an expression fails on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from varve.model.errors import StorageError

_LOST: Final = re.compile(
    r"FAILED_READ_FILE|FILE_NOT_EXIST|PATH_NOT_FOUND|CANNOT_READ_FILE_FOOTER|FileNotFoundException"
)
_DATA_FILE: Final = re.compile(r"/(?P<layer>bronze|silver|gold|ops)/(?P<table>\w+)/(?P<file>[^\s'\",]*?\.parquet)")

# What an expression raises for the values of a row, where Spark has wrapped it in a failed write.
_OF_A_ROW: Final = re.compile(
    r"(?:Spark(?:Arithmetic|ArrayIndexOutOfBounds|DateTime|IllegalArgument|NumberFormat|Runtime)|\.Python)Exception: "
    r"\[(?P<name>[\w.]+)\]"
)


def explained(error: BaseException, root: Path) -> BaseException:
    """Turns what Spark raises for a lost or broken data file into a StorageError that names the table and its repair.

    Any other error is returned as it is."""
    text = str(error)
    found = _DATA_FILE.search(text) if _LOST.search(text) else None
    if found is None or isinstance(error, StorageError) or not (root / found["layer"] / found["table"]).is_dir():
        return error
    return StorageError(
        "a file of the table is lost or broken", where=f"{found['layer']}.{found['table']}", found=found["file"],
        remedy=mending(root, found["layer"], found["table"]),
    )  # fmt: skip


def condition_of_row(error: BaseException) -> str | None:
    """Spark's name of what an expression raised for the values of a row: DIVIDE_BY_ZERO; None of other errors."""
    from pyspark import errors  # not before: who meets no error needs no Spark

    of_a_row = (
        errors.ArithmeticException, errors.ArrayIndexOutOfBoundsException, errors.DateTimeException,
        errors.IllegalArgumentException, errors.PythonException, errors.SparkRuntimeException,
    )  # fmt: skip
    if isinstance(error, of_a_row):
        return error.getCondition() or type(error).__name__
    found = _OF_A_ROW.search(str(error))
    return found["name"] if found else None


def mending(root: Path, layer: str, table: str) -> str:
    """What a person does about a table that cannot be read, as it is typed."""
    folder = root / layer / table
    if layer == "silver" and (root / layer / f"{table}_changes" / "_delta_log").is_dir():
        return f"Delete {folder}, then: ./spark-submit.sh silver --table {table} rebuilds it from its log."
    if layer == "gold":
        return f"Delete {folder}, then: ./spark-submit.sh gold --table {table} rebuilds it from silver."
    return f"Restore {folder} from a backup: nothing that is stored elsewhere gives its rows."
