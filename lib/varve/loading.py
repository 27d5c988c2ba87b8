"""Raw to bronze: one manifest, one commit. The rules are `bronze`'s; here they meet the storage.

Rejects are written before the rows, each under a transaction of its own: a run that dies in between writes them once.
Records of tables with personal columns are withheld from ops.rejects (file and position stay) until they can be
encrypted there.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from varve import bronze, ops, raw
from varve.bronze import Drift, Provenance, ScopeColumn, Typing
from varve.config import Dataset, FromColumn, FromPath
from varve.contract import Contract
from varve.errors import DefectError, ParkedError, VarveError
from varve.raw import Manifest
from varve.store import Commit, Store

_OPS: Final = threading.Lock()  # tables load side by side and share ops.rejects and ops.drift


class Record(Protocol):
    """The ledger's row of what is being done."""

    def input(self, *manifests: str) -> None: ...
    def read(self, rows: int) -> None: ...
    def wrote(self, commit: Commit | None, *, rejected: int = 0) -> None: ...
    def parked(self, error: VarveError | str) -> None: ...
    def drift(self, difference: dict[str, object]) -> None: ...


@dataclass(frozen=True, slots=True)
class Load:
    """Loads the extracts of one dataset into its bronze table."""

    store: Store
    contract: Contract
    table: str
    country: str | ScopeColumn
    entity: str | ScopeColumn
    null_values: tuple[str, ...]
    run_id: str
    typings: dict[tuple[str, ...], Typing] = field(default_factory=dict)  # by the columns received

    @classmethod
    def of(cls, store: Store, dataset: Dataset, *, run_id: str) -> Load:
        country, entity = (_scope_part(part) for part in (dataset.scope.country, dataset.scope.entity))
        return cls(store, dataset.contract, dataset.table, country, entity, dataset.options.null_values, run_id)

    def parks(self, manifest: Manifest) -> bool:
        """Whether the extract was parked at landing, or would be here."""
        return manifest.status == "parked" or bool(self._drift(manifest).required)

    def into(self, record: Record, pending: Sequence[Manifest]) -> None:
        """Load the extracts of one scope in their order; a parked one makes the later ones wait."""
        for place, manifest in enumerate(pending):
            if manifest.status == "parked":
                return record.parked(_waiting(raw.parked_error([manifest]), pending[place + 1 :]))
            difference = self._drift(manifest)
            if difference:
                record.drift({"manifest": manifest.id, **{k: v for k, v in asdict(difference).items() if v}})
                self._note_drift(manifest, difference)
            if difference.required:
                return record.parked(_waiting(self._missing(manifest, difference), pending[place + 1 :]))
            self._append(record, manifest)
        return None

    def _drift(self, manifest: Manifest) -> Drift:
        """A file without any record may not name its columns (NDJSON): that is no difference."""
        return bronze.drift(manifest.columns, self.contract) if manifest.columns else Drift()

    def _append(self, record: Record, manifest: Manifest) -> None:
        records = raw.read(self.store.spark, manifest)
        if manifest.columns not in self.typings:
            self.typings[manifest.columns] = bronze.typing_of(manifest.columns, self.contract, self.null_values)
        typing = self.typings[manifest.columns]
        rows, rejects = bronze.split(records, self.contract, self._provenance(manifest), typing)
        unidentified = rejects.count() if self.contract.keys and manifest.rows else 0
        if unidentified:
            self._reject(manifest, rejects, "bronze")
        if manifest.rejected:
            unframed = raw.read_rejects(self.store.spark, manifest).select(
                F.lit(manifest.scope_country).alias("scope_country"),
                F.lit(manifest.scope_entity).alias("scope_entity"),
                "_position", F.lit("framing").alias("rule"), F.col("_reason").alias("reason"), "_record",
            )  # fmt: skip
            self._reject(manifest, unframed, "landing")
        commit = self.store.append(rows, "bronze", self.table, txn=manifest.id)
        if commit.version is not None and commit.rows + unidentified != manifest.rows:
            raise DefectError(
                "records were lost or invented on the way to bronze", where=f"bronze.{self.table} {manifest.id}",
                found=f"{commit.rows} rows + {unidentified} rejects", expected=f"{manifest.rows} records",
            )  # fmt: skip
        record.input(manifest.id)
        record.read(manifest.rows + manifest.rejected)
        record.wrote(commit, rejected=unidentified + manifest.rejected)

    def _provenance(self, manifest: Manifest) -> Provenance:
        return Provenance(
            manifest=manifest.id, file=manifest.file, landed_at=manifest.landed_at, as_of=manifest.as_of,
            columns=manifest.columns, null_values=self.null_values,
            country=self.country if isinstance(self.country, ScopeColumn) else manifest.scope_country,
            entity=self.entity if isinstance(self.entity, ScopeColumn) else manifest.scope_entity,
        )  # fmt: skip

    def _reject(self, manifest: Manifest, rejects: DataFrame, stage: str) -> None:
        personal = any(column.personal for column in self.contract.columns)
        values = {
            "table_name": F.lit(f"bronze.{self.table}"), "scope_country": F.col("scope_country"),
            "scope_entity": F.col("scope_entity"), "stage": F.lit(stage), "manifest": F.lit(manifest.id),
            "file": F.lit(manifest.file), "position": F.col("_position"), "rule": F.col("rule"),
            "reason": F.col("reason"), "record": F.lit(None) if personal else F.col("_record"),
            "run_id": F.lit(self.run_id), "rejected_at": F.lit(datetime.now(UTC)),
        }  # fmt: skip
        kinds = ops.COLUMNS[ops.REJECTS]
        shaped = rejects.select(*(values[name].cast(kind).alias(name) for name, kind in kinds.items()))
        with _OPS:
            self.store.append(shaped, "ops", ops.REJECTS, txn=f"{stage}:{self.table}:{manifest.id}", partition_by=())

    def _note_drift(self, manifest: Manifest, difference: Drift) -> None:
        transaction = f"drift:{self.table}:{manifest.id}"
        added = "added" if self.contract.evolve == "add" else "rescued"
        kinds = {
            "added": (difference.added, "a new column", "none", added),
            "missing": (difference.missing, "none", "a column of the contract", "null"),
            "incompatible": (difference.required, "none", "a required column", "parked"),
            "case": (difference.case, "other capital letters", "the contract's spelling", "rescued"),
        }
        fixed = (f"bronze.{self.table}", manifest.scope_country, manifest.scope_entity, manifest.id)
        rows = [
            (*fixed, name, kind, found, expected, action, self.run_id, datetime.now(UTC))
            for kind, (names, found, expected, action) in kinds.items()
            for name in names
        ]
        with _OPS:
            if transaction not in self.store.loaded("ops", ops.DRIFT):
                frame = self.store.frame(rows, ops.ddl(ops.DRIFT))
                self.store.append(frame, "ops", ops.DRIFT, txn=transaction, partition_by=())

    def _missing(self, manifest: Manifest, difference: Drift) -> ParkedError:
        return ParkedError(
            f"{manifest.origin.path} is parked: required columns are missing", where=f"bronze.{self.table}",
            found=f"{', '.join(manifest.columns[:30])}", expected=", ".join(difference.required),
            remedy="Correct the contract, have it delivered again under the same name, or go on without it: "
            f'./spark-submit.sh bronze --discard {manifest.id} --reason "…"',
        )  # fmt: skip


def _scope_part(part: str | FromPath | FromColumn) -> str | ScopeColumn:
    """What a column holds; of what the path or the configuration says, the manifest has the result."""
    return ScopeColumn(part.column, part.map) if isinstance(part, FromColumn) else ""


def _waiting(error: ParkedError, later: Sequence[Manifest]) -> ParkedError:
    """The same, with how many extracts stand behind the parked one."""
    if not later:
        return error
    what = f"{error.what} ({len(later)} later extracts of this scope wait)"
    return ParkedError(what, where=error.where, found=error.found, expected=error.expected, remedy=error.remedy)
