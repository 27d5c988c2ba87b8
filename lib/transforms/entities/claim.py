"""PURE. Claims: Spain's core system keeps amounts in cents, and no currency, because it knows the euro only."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from varve.transforms import CARRIED, conform


@conform("claim", feed="es_core_claim")
def spanish_claims(bronze: DataFrame) -> DataFrame:
    """The claims of Spain's core system.

    bronze: (claim_id, portfolio_id, debtor_id, status_code, principal_cents [EUR cents], balance_cents [EUR cents],
    open_date).
    Returns the columns of silver.claim, status still in Spain's codes, amounts in EUR.
    """
    return bronze.select(
        "claim_id",
        "portfolio_id",
        "debtor_id",
        F.col("status_code").alias("status"),
        _euros("principal_cents").alias("principal"),
        _euros("balance_cents").alias("balance"),
        F.lit("EUR").alias("currency"),
        F.col("open_date").alias("opened_on"),
        *CARRIED,
    )


def _euros(cents: str) -> Column:
    """Cents as a decimal of euros, exactly."""
    return (F.col(cents).cast("decimal(19,0)") * F.lit("0.01").cast("decimal(3,2)")).cast("decimal(19,4)")
