"""PURE. Exchange rates: the ECB's wide history, one column per currency -> one row per working day and currency."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from varve.transforms import CARRIED, RESCUED, conform

_CURRENCY: Final = re.compile(r"[a-z]{3}")
_RATE: Final = "decimal(20,8)"
_QUOTE: Final = f"struct<currency:string,rate:{_RATE},is_quoted:boolean>"
_NO_VALUE: Final = ("", "N/A")


@conform("fx", feed="ecb_eurofxref_hist")
def ecb_rates(bronze: DataFrame) -> DataFrame:
    """The rates of the euro reference files.

    bronze: (date, one decimal column per currency, named in lower case). A currency that the contract does not know yet
    is found in `_rescued` and taken from there; a value there that is no number gives a row whose rate is null, so that
    the bad cell is rejected and not taken for a withdrawn rate.
    Returns (rate_date date, currency string, rate decimal(20,8) [units of the currency per 1 EUR]), unique on
    (rate_date, currency) where `date` is; no row where the file has no value (N/A). Currencies that have died are kept.
    """
    known = [name for name in bronze.columns if _CURRENCY.fullmatch(name)]
    quotes = [
        F.struct(F.lit(name.upper()), F.col(f"`{name}`").cast(_RATE), F.col(f"`{name}`").isNotNull()).cast(_QUOTE)
        for name in known
    ]
    rescued = F.from_json(RESCUED, "array<struct<field:string,value:string>>")
    others = F.transform(
        F.filter(F.coalesce(rescued, F.array()), lambda one: one["field"].rlike("^[A-Za-z]{3}$")), _rescued_quote(known)
    )
    return (
        bronze.select(F.col("date").alias("rate_date"), F.concat(F.array(*quotes), others).alias("q"), *CARRIED)
        .select("rate_date", F.explode("q").alias("q"), *CARRIED)
        .where("q.is_quoted")
        .select("rate_date", F.col("q.currency").alias("currency"), F.col("q.rate").alias("rate"), *CARRIED)
    )


def _rescued_quote(known: list[str]) -> Callable[[Column], Column]:
    """What stands in `_rescued` as a quote; a value that a known column could not hold has no rate."""

    def quote(one: Column) -> Column:
        text = F.trim(one["value"])
        rate = F.when(~F.lower(one["field"]).isin(known), text.try_cast(_RATE))
        return F.struct(F.upper(one["field"]), rate, ~text.isin(*_NO_VALUE)).cast(_QUOTE)

    return quote
