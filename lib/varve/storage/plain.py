"""Small tables read as the Parquet files that their log names.

Delta answers a read by a query over the table's state, which it plans and runs anew for every version: of a table of a
few files that costs more than reading them. delta-rs names the files from the same log in some milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

import deltalake
import pyarrow
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

MOST_FILES: Final = 100  # as many paths are listed without a Spark job, see `session`
MOST_BYTES: Final = 64 * 1024**2
_PATTERNS: Final = frozenset("*?[]{}\\")  # Spark takes a path with one of these for a pattern


def plain_files(log: deltalake.DeltaTable, folder: str) -> list[str] | None:
    """The paths of a table at the version of `log`, when its rows are just those of its files and these are few; else
    None, of an empty table too.

    folder: the table's. None of a table with rows in a deletion vector, of more than MOST_FILES or MOST_BYTES."""
    added = pyarrow.table(log.get_add_actions(flatten=True))
    paths, sizes = added["path"].to_pylist(), added["size_bytes"].to_pylist()
    if not 0 < len(paths) <= MOST_FILES or sum(sizes) > MOST_BYTES or _PATTERNS & {*folder}:
        return None
    features = log.protocol().reader_features or []
    if "deletionVectors" in features and pyarrow.table(log.deletion_vectors()).num_rows:
        return None
    return paths if {*features} <= {"deletionVectors", "timestampNtz"} else None


def read_plain(spark: SparkSession, log: deltalake.DeltaTable, folder: str, paths: Sequence[str]) -> DataFrame:
    """The rows of files without deletion vectors, as the table's schema has them; columns that a file lacks are null.

    folder: the table's; paths: as its log writes them, at least one."""
    schema = StructType.fromJson(json.loads(log.schema().to_json()))
    files = [f"{folder}/{unquote(path)}" for path in paths]
    rows = spark.read.schema(schema).option("basePath", folder).parquet(*files)
    return rows.select(*(f"`{name}`" for name in schema.names))
