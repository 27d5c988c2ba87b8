"""A process whose sorts go by way of the disk: `python -m history.spilled <lake> <folder of its events>`.

It loads ROWS keys with two versions each, in no order, into a history that is there afterwards.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StringType, StructField, StructType

from varve.history import Policy
from varve.history_table import HistoryTable
from varve.spark import session
from varve.storage.delta import Store

ENTITY = "reading"
ROWS = 4000
IN_MEMORY = 500  # rows of a sort


def main(lake: str, events: str) -> None:
    from conftest import SETTINGS

    conf = {
        "spark.shuffle.spill.numElementsForceSpillThreshold": str(IN_MEMORY),
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.dir": Path(events).as_uri(),
    }
    spark_settings = SETTINGS.spark.model_copy(update={"conf": {**SETTINGS.spark.conf, **conf}})
    spark = session.build(SETTINGS.model_copy(update={"spark": spark_settings}), app="spilled")
    schema = StructType([StructField("id", LongType()), StructField("state", StringType())])
    table = HistoryTable(Store(lambda: spark, lake), ENTITY, Policy(keys=("id",), attributes=("state",)), schema=schema)
    day = F.expr(f"timestamp '2026-01-01 00:00:00' + make_dt_interval(id div {ROWS})")
    changes = spark.range(2 * ROWS).select(
        F.lit("ES").alias("scope_country"), F.lit("iberia1").alias("scope_entity"),
        F.expr(f"id * 1999 % {ROWS}").alias("id"), F.expr(f"'state ' || (id div {ROWS})").alias("state"),
        F.lit("upsert").alias("op"), day.alias("valid_from"), F.lit(None).cast("bigint").alias("sequence"),
        day.alias("recorded_at"), F.lit("m").alias("manifest"), F.lit("1").alias("contract_version"),
    )  # fmt: skip
    table.append(changes, table.batch())
    table.fold()
    spark.stop()  # the last events are written


if __name__ == "__main__":
    main(*sys.argv[1:])
