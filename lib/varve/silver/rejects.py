"""Bad rows and contradictions of an entity, as rows of ops.rejects."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from varve.model.contract import Contract
from varve.ops import tables
from varve.rules import quality


def rejected_rows(rejected: DataFrame, contract: Contract, *, batch: str, run_id: str, at: datetime) -> DataFrame:
    """Bad rows as rows of ops.rejects. They are pseudonymised: the clear record is where file and position say."""
    record = F.to_json(F.struct(*(F.col(f"`{name}`") for name in contract.names)), {"ignoreNullFields": "false"})
    values: dict[str, Column] = {
        "table_name": F.lit(f"silver.{contract.table}"),
        "stage": F.lit("silver"),
        "batch": F.lit(batch),
        "manifest": F.col("_manifest"),
        "file": F.col("_file"),
        "position": F.col("_position"),
        "rule": F.array_join(F.transform(quality.FAILED, lambda one: one["rule"]), ", "),
        "reason": F.array_join(F.transform(quality.FAILED, lambda one: one["reason"]), "; "),
        "record": record,
        "run_id": F.lit(run_id),
        "rejected_at": F.lit(at),
    }
    columns = tables.COLUMNS[tables.REJECTS]
    return rejected.select(*(values.get(c, F.col(c)).cast(kind).alias(c) for c, kind in columns.items()))


def contradiction(statement: Row, *, table: str, batch: str, run_id: str, at: datetime) -> dict[str, Any]:
    """A statement that another one contradicts. table: with its layer; batch: of the fold that found it."""
    return {
        "table_name": table, "scope_country": statement["scope_country"], "scope_entity": statement["scope_entity"],
        "stage": "silver", "batch": batch, "rule": "contradiction",
        "reason": f"another content at {statement['valid_from']}, sequence {statement['sequence']}",
        "record": json.dumps(statement.asDict(), default=str), "run_id": run_id, "rejected_at": at,
    }  # fmt: skip
