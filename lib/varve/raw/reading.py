"""The records of extracts, as the next layer reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from varve.raw.manifest import Manifest, RawFile
from varve.storage import Files

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_BLOCK: Final = 2**22  # [bytes] that are read at once
PART: Final = "_part"  # the name of the file that a record was read from; no two extracts have a file of one name


def read(spark: SparkSession, files: Files, manifests: Sequence[Manifest]) -> DataFrame:
    """The records of landed extracts with the same columns: (_position bigint, _record string, c0 … cN, _part string).

    manifests: at least one. The schema comes from them, never from the files, the folder names or a guess.
    """
    types = manifests[0].types or ("string",) * len(manifests[0].columns)
    fields = "".join(f", c{index} {kind}" for index, kind in enumerate(types))
    return _frame(spark, files, manifests, "records", f"_position bigint, _record string{fields}")


def read_rejects(spark: SparkSession, files: Files, manifests: Sequence[Manifest]) -> DataFrame:
    """The records that could not be framed: (_position bigint, _record string, _reason string, _part string)."""
    return _frame(spark, files, manifests, "rejects", "_position bigint, _record string, _reason string")


def parts(manifest: Manifest) -> list[str]:
    """The names of its files that occur in `_part` of `read` and `read_rejects`."""
    return [file.name for file in manifest.files if file.role in ("records", "rejects")]


def spoiled(files: Files, manifest: Manifest) -> RawFile | None:
    """The first file of records or rejects that is gone or has other bytes than landed; None: all are whole."""
    for file in manifest.files:
        if file.role not in ("records", "rejects"):
            continue
        if stored_digest(files, f"{manifest.folder}/{file.name}") != (file.bytes, file.sha256):
            return file
    return None


def stored_digest(files: Files, key: str) -> tuple[int | None, str]:
    """(size [bytes], sha256) of an object, read now; the size is None when it is gone. Raises StorageError."""
    digest, size = hashlib.sha256(), files.size(key)
    for start in range(0, size or 0, _BLOCK):
        digest.update(files.read(key, start=start, length=_BLOCK))
    return size, digest.hexdigest()


def _frame(spark: SparkSession, files: Files, manifests: Sequence[Manifest], role: str, schema: str) -> DataFrame:
    keys = [key for manifest in manifests for key in manifest.keys(role)]
    if not keys:
        return spark.createDataFrame([], f"{schema}, {PART} string")
    found = spark.read.schema(schema).parquet(*[f"{files.root}/{key}" for key in keys])
    return found.selectExpr("*", f"_metadata.file_name as {PART}")
