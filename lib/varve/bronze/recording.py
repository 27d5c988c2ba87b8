"""What is recorded beside a batch of bronze: what it does not take, and how its columns differ from the contract's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from varve import raw
from varve.bronze.drift import Drift, drift
from varve.bronze.provenance import of_extracts
from varve.bronze.typing import rejects_of
from varve.model.contract import Contract
from varve.ops import tables
from varve.raw import Manifest
from varve.raw.batch import Batch
from varve.raw.rejects import keep_rejects, reject_rows
from varve.run.run import Run


class Recording:
    """Records for one bronze table, in the tables of layer ops."""

    def __init__(self, run: Run, contract: Contract, table: str) -> None:
        """table: its name without the layer."""
        self.run, self.store, self.contract, self.table = run, run.store, contract, table

    def drift(self, manifest: Manifest) -> Drift:
        """A file without any record may not name its columns (NDJSON): that is no difference."""
        return drift(manifest.columns, self.contract) if manifest.columns else Drift()

    def record_rejects(
        self, batch: Batch, frame: DataFrame, manifests: Sequence[Manifest], counts: Mapping[str, tuple[int, int]]
    ) -> None:
        """Keep what the batch does not take: records that bronze refuses, and those that landing could not frame.

        frame: the typed records; counts: of each manifest the rows and the rejects."""
        parts = []
        if any(bad for _, bad in counts.values()):
            parts.append(self._rejects(batch, rejects_of(frame), "bronze"))
        if unframed := [m for m in manifests if m.rejected]:
            records = of_extracts(self.store, raw.read_rejects(self.store.spark, self.run.files, unframed), unframed)
            named = records.withColumns({"rule": F.lit("framing"), "reason": F.col("_reason")})
            parts.append(self._rejects(batch, named, "landing"))
        if parts:
            keep_rejects(self.store, reduce(DataFrame.unionByName, parts), batch)

    def _rejects(self, batch: Batch, rejects: DataFrame, stage: str) -> DataFrame:
        personal = any(column.personal for column in self.contract.columns)
        return reject_rows(
            rejects, batch, table_name=f"bronze.{self.table}", stage=stage, rule=F.col("rule"), reason=F.col("reason"),
            record=F.lit(None) if personal else F.col("_record"),
        )  # fmt: skip

    def record_drift(self, batch: Batch, manifests: Iterable[Manifest]) -> None:
        """Keep how the columns of the extracts differ from the contract's."""
        rows = [row for m in manifests for row in self.drift_rows(m, self.drift(m), batch.name)]
        tables.append(self.run.root, tables.DRIFT, rows)

    def drift_rows(self, manifest: Manifest, difference: Drift, batch: str | None) -> Iterator[dict[str, object]]:
        """One row of ops.drift for each difference. batch: its name, None for an extract that waits."""
        added = "added" if self.contract.evolve == "add" else "rescued"
        kinds = {
            "added": (difference.added, "a new column", "none", added),
            "missing": (difference.missing, "none", "a column of the contract", "null"),
            "incompatible": (difference.required, "none", "a required column", "parked"),
            "spelling": (difference.spelling, "another spelling", "the contract's", "taken for it"),
            "unclear": (difference.unclear, "two columns that could be it", "one", "parked"),
        }
        for kind, (names, found, expected, action) in kinds.items():
            for name in names:
                yield {
                    "table_name": f"bronze.{self.table}", "scope_country": manifest.scope_country,
                    "scope_entity": manifest.scope_entity, "batch": batch, "manifest": manifest.id,
                    "column_name": name, "kind": kind, "found": found, "expected": expected, "action": action,
                    "run_id": self.run.run_id, "recorded_at": datetime.now(UTC),
                }  # fmt: skip


def described(manifest: Manifest, difference: Drift) -> dict[str, object]:
    """The differences of an extract's columns, as the ledger keeps them."""
    return {"manifest": manifest.id, **{k: v for k, v in asdict(difference).items() if v}}
