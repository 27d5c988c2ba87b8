"""What the next layer sees of raw: manifests, and the records of one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from varve.errors import ParkedError, StorageError
from varve.raw import manifest as manifest_file
from varve.raw.manifest import Manifest

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def manifests(lake: str | Path, source: str, dataset: str) -> list[Manifest]:
    """All published extracts of the dataset, landed and parked, in the order in which they are to be loaded."""
    found = Path(lake, "raw", source, dataset).glob(f"country=*/entity=*/day=*/extract=*/{manifest_file.NAME}")
    return sorted((manifest_file.decode(path) for path in found), key=lambda m: m.order)


def waiting(found: Sequence[Manifest]) -> list[Manifest]:
    """The parked extracts that no later delivery of the same file has replaced. Those discarded are among them."""
    return [m for m in found if m.status == "parked" and not replaced(m, found)]


def replaced(manifest: Manifest, found: Iterable[Manifest]) -> bool:
    """Whether the file was delivered again for the same date, readable: then the parked one need not be decided about.

    Changes without a date may be others under the old name, and never replace what was parked.
    """
    if manifest.mode == "changes" and manifest.declared is None:
        return False
    same = (manifest.origin.path, manifest.declared)
    return any(
        m.status == "landed" and (m.origin.path, m.declared) == same and m.landed_at > manifest.landed_at for m in found
    )


def parked_error(parked: Sequence[Manifest]) -> ParkedError:
    """What to tell about parked extracts: which files, why, and the way back in."""
    told = "; ".join(f"{m.origin.path} is parked: {m.reason}" for m in parked)
    discard = f'./spark-submit.sh bronze --discard {parked[0].id} --reason "…"'
    return ParkedError(
        told,
        where=f"raw.{parked[0].table}",
        remedy=f"Have it delivered again under the same name and run again, or go on without it: {discard}",
    )


def read(spark: SparkSession, manifest: Manifest) -> DataFrame:
    """The records of a landed extract: (_position bigint, _record string, c0 … cN string).

    The schema comes from the manifest, never from the files, the folder names or a guess.
    """
    fields = "".join(f", c{index} string" for index in range(len(manifest.columns)))
    return _frame(spark, manifest, "records", f"_position bigint, _record string{fields}")


def read_rejects(spark: SparkSession, manifest: Manifest) -> DataFrame:
    """The records that could not be framed: (_position bigint, _record string, _reason string)."""
    return _frame(spark, manifest, "rejects", "_position bigint, _record string, _reason string")


def _frame(spark: SparkSession, manifest: Manifest, role: str, schema: str) -> DataFrame:
    if manifest.status != "landed":
        raise StorageError("a parked extract has no records", where=manifest.folder, found=manifest.reason)
    paths = manifest.paths(role)
    if not paths:
        return spark.createDataFrame([], schema)
    absent = [path for path in paths if not Path(path).exists()]
    if absent:
        raise StorageError("a file that the manifest lists is gone", where=manifest.folder, found=f"no {absent[0]}")
    return spark.read.schema(schema).parquet(*paths)
