"""PURE. gold.fx_rate: euro exchange rates for every calendar day.

The ECB quotes on its working days only, units of the currency per 1 EUR. For the days between, the last quotation
stands in, with its own date, for at most MOST_DAYS days: the ECB's longest pause is six, so a longer one means that the
currency was suspended (RUB since 2022-03-02) or replaced (TRL, ROL), and no rate is better than a stale one. A currency
that joined the euro has its irrevocable conversion rate from that day on. The table ends with the last day that the ECB
quoted in silver: how far a rate reaches depends on the data alone, never on the day on which it was computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from varve.model.errors import ConfigError
from varve.model.scope import ALL, SCOPE_COLUMNS
from varve.rules.codes import CodeList
from varve.transforms import mart

MOST_DAYS: Final = 14  # [days] that a quotation stands in for days without one
FIRST_DAY: Final = date(1999, 1, 1)
_RATE: Final = "decimal(20,8)"
_FIXED: Final = f"struct<currency:string,rate:{_RATE},since:date>"


@dataclass(frozen=True, slots=True)
class FixedRate:
    """The irrevocable rate of a currency that joined the euro: units per 1 EUR, from `since` on."""

    currency: str
    rate: Decimal
    since: date


def fixed_rates(listed: CodeList) -> tuple[FixedRate, ...]:
    """The conversion rates of a code list (source_code: currency, group_code: rate, valid_from: day of joining)."""
    rates = []
    for code in listed.codes:
        if code.valid_from is None:
            raise ConfigError(
                "a conversion rate needs its first day", where=f"codes/{listed.name}.csv", found=code.source_code
            )
        rates.append(FixedRate(code.source_code, Decimal(code.group_code), code.valid_from))
    return tuple(rates)


@mart("fx_rate", reads=["silver.fx"], codes=["euro_conversion_rate"])
def fx_rate(fx: DataFrame, conversion_rates: CodeList) -> DataFrame:
    """The mart, see `daily_rates`. conversion_rates: currency -> rate, from the day of joining."""
    return daily_rates(fx, fixed_rates(conversion_rates))


def daily_rates(fx: DataFrame, fixed: Sequence[FixedRate]) -> DataFrame:
    """A rate for every currency and calendar day that has one.

    fx: the versions of silver.fx (rate_date, currency, rate decimal [currency per 1 EUR], is_current).
    Returns (scope_country, scope_entity, currency, date, rate decimal(20,8), rate_date, is_filled, is_fixed), unique on
    (currency, date): quotations, quotations that stand in for later days, fixed rates, and 1 for EUR itself.
    """
    quoted = fx.where("is_current").select("currency", "rate_date", F.col("rate").cast(_RATE).alias("rate"))
    last = quoted.agg(F.max("rate_date").alias("last_day"))
    floating = _floating(quoted.crossJoin(F.broadcast(last))).where(~_is_fixed(fixed))
    rows = floating.unionByName(_constant(last, [FixedRate("EUR", Decimal(1), FIRST_DAY), *fixed]))
    scope = [F.lit(ALL).alias(column) for column in SCOPE_COLUMNS]
    return rows.select(*scope, "currency", "date", "rate", "rate_date", "is_filled", "is_fixed")


def _floating(quoted: DataFrame) -> DataFrame:
    """Each quotation on its day and on the days without one that follow. quoted: with last_day."""
    following = F.lead("rate_date").over(Window.partitionBy("currency").orderBy("rate_date"))
    end = F.least(F.date_sub(following, 1), F.date_add("rate_date", MOST_DAYS), F.col("last_day"))
    return quoted.select("currency", "rate", "rate_date", end.alias("end")).select(
        "currency", F.explode(F.sequence("rate_date", "end")).alias("date"), "rate", "rate_date",
        (F.col("date") > F.col("rate_date")).alias("is_filled"), F.lit(False).alias("is_fixed"),
    )  # fmt: skip


def _is_fixed(fixed: Sequence[FixedRate]) -> Column:
    """Whether the currency has a fixed rate on this day."""
    joined = [(F.col("currency") == rate.currency) & (F.col("date") >= rate.since) for rate in fixed]
    return reduce(Column.__or__, joined, F.lit(False))


def _constant(last: DataFrame, fixed: Sequence[FixedRate]) -> DataFrame:
    """Rates that hold on every day from their first to the last day of the table."""
    rates = F.array(*(F.struct(F.lit(r.currency), F.lit(r.rate), F.lit(r.since)).cast(_FIXED) for r in fixed))
    held = last.select("last_day", F.inline(rates)).where("since <= last_day")
    return held.select(
        "currency", F.explode(F.sequence("since", "last_day")).alias("date"), "rate", F.col("since").alias("rate_date"),
        F.lit(False).alias("is_filled"), F.lit(True).alias("is_fixed"),
    )  # fmt: skip
