"""Bad rows and contradictions of an entity, as rows of ops.rejects."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from varve.model.contract import Contract
from varve.raw.batch import Batch
from varve.raw.rejects import reject_rows
from varve.rules import quality


def rejected_rows(rejected: DataFrame, contract: Contract, batch: Batch) -> DataFrame:
    """Bad rows as rows of ops.rejects. They are pseudonymised: the clear record is where file and position say."""

    def joined(field: str, separator: str) -> Column:
        return F.array_join(F.transform(quality.FAILED, lambda one: one[field]), separator)

    record = F.to_json(F.struct(*(F.col(f"`{name}`") for name in contract.names)), {"ignoreNullFields": "false"})
    return reject_rows(
        rejected, batch, table_name=f"silver.{contract.table}", stage="silver",
        rule=joined("rule", ", "), reason=joined("reason", "; "), record=record,
    )  # fmt: skip


def contradiction(statement: Row, *, table: str, batch: str, run_id: str, at: datetime) -> dict[str, Any]:
    """A statement that another one contradicts. table: with its layer; batch: of the fold that found it."""
    return {
        "table_name": table, "scope_country": statement["scope_country"], "scope_entity": statement["scope_entity"],
        "stage": "silver", "batch": batch, "rule": "contradiction",
        "reason": f"another content at {statement['valid_from']}, sequence {statement['sequence']}",
        "record": json.dumps(statement.asDict(), default=str), "run_id": run_id, "rejected_at": at,
    }  # fmt: skip
