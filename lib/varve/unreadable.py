"""What cannot be read of a table: Spark's words for it as an error of ours, and how the table is mended."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from varve.errors import StorageError

_LOST: Final = re.compile(r"FAILED_READ_FILE|FILE_NOT_EXIST|CANNOT_READ_FILE_FOOTER|FileNotFoundException")
_DATA_FILE: Final = re.compile(r"/(?P<layer>bronze|silver|gold|ops)/(?P<table>\w+)/(?P<file>[^\s'\",]*?\.parquet)")


def as_ours(error: BaseException, root: Path) -> BaseException:
    """The error, or a StorageError that names the table and what mends it, where Spark could not read a data file."""
    text = str(error)
    found = _DATA_FILE.search(text) if _LOST.search(text) else None
    if found is None or isinstance(error, StorageError) or not (root / found["layer"] / found["table"]).is_dir():
        return error
    return StorageError(
        "a file of the table is lost or broken", where=f"{found['layer']}.{found['table']}", found=found["file"],
        remedy=mending(root, found["layer"], found["table"]),
    )  # fmt: skip


def mending(root: Path, layer: str, table: str) -> str:
    """What a person does about a table that cannot be read, as it is typed."""
    folder = root / layer / table
    if layer == "silver" and (root / layer / f"{table}_changes" / "_delta_log").is_dir():
        return f"Delete {folder}, then: ./spark-submit.sh silver --table {table} makes it anew from its log."
    if layer == "gold":
        return f"Delete {folder}, then: ./spark-submit.sh gold --table {table} makes it anew from silver."
    return f"Restore {folder} from a backup: nothing that is stored elsewhere gives its rows."
