"""PURE. gold.gdp_eur: GDP by country and year in US dollars and euro, as known at any date.

A figure is converted at the mean of the ECB's US dollar quotations of its year, each working day counting once. The
ECB never revises a quotation, so the mean of a year that is over is the same whenever it is taken, and serves every
state of knowledge of the figure. Before 1999, and for a year that is not over in silver.fx (no quotation of a later
year is there), there is no rate: usd_per_eur and gdp_eur are null.
What was known on a day D: where known_from <= D and (known_to is null or known_to > D).
"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from varve.model.scope import SCOPE_COLUMNS
from varve.transforms import mart


@mart("gdp_eur", reads=["silver.gdp", "silver.fx"])
def gdp_eur(gdp: DataFrame, fx: DataFrame) -> DataFrame:
    """Every state of knowledge of every figure, in both currencies.

    gdp: the versions of silver.gdp (scope, country_code, year, country_name, value [USD], valid_from [date of the
    vintage], valid_to, is_current, is_deleted); fx: the versions of silver.fx.
    Returns (scope_country, scope_entity, country_code, country_name, year, gdp_usd decimal(30,10), usd_per_eur
    decimal(20,8), gdp_eur decimal(28,4), known_from, known_to, is_current), unique on (scope, country_code, year,
    known_from); while a figure was withdrawn there is no row.
    """
    states = gdp.where("not is_deleted").select(
        *SCOPE_COLUMNS, "country_code", "country_name", "year", F.col("value").alias("gdp_usd"),
        F.col("valid_from").alias("known_from"), F.col("valid_to").alias("known_to"), "is_current",
    )  # fmt: skip
    return states.join(F.broadcast(usd_per_eur_by_year(fx)), "year", "left").select(
        *SCOPE_COLUMNS, "country_code", "country_name", "year", "gdp_usd", "usd_per_eur",
        (F.col("gdp_usd") / F.col("usd_per_eur")).cast("decimal(28,4)").alias("gdp_eur"),
        "known_from", "known_to", "is_current",
    )  # fmt: skip


def usd_per_eur_by_year(fx: DataFrame) -> DataFrame:
    """(year int, usd_per_eur decimal(20,8)): the mean of the year's quotations, for years that are over."""
    year = F.year("rate_date").alias("year")
    quoted = fx.where("is_current and currency = 'USD'").select(year, "rate")
    means = quoted.groupBy("year").agg(F.avg("rate").cast("decimal(20,8)").alias("usd_per_eur"))
    last = fx.where("is_current").agg(F.max(F.year("rate_date")).alias("last_year"))
    return means.join(F.broadcast(last), F.col("year") < F.col("last_year")).select("year", "usd_per_eur")
