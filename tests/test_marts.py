"""The marts, on small silver tables that a person can check by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from pyspark.sql import DataFrame, SparkSession

from transforms.marts.fx_rate import FixedRate, daily_rates, fixed_rates
from transforms.marts.gdp_eur import gdp_eur
from varve.model.errors import ConfigError
from varve.rules import codes

HRK = FixedRate("HRK", Decimal("7.53450"), date(2023, 1, 1))


def day(text: str) -> date:
    return date.fromisoformat(text)


def utc(moment: datetime | None) -> datetime | None:
    """Spark hands over times naive, in the zone of the process."""
    return None if moment is None else moment.astimezone(UTC)


def silver_fx(spark: SparkSession, *rates: tuple[str, str, str]) -> DataFrame:
    rows = [(day(on), currency, Decimal(rate), True) for on, currency, rate in rates]
    withdrawn = (day("2022-12-27"), "USD", Decimal(9), False)
    return spark.createDataFrame(
        [*rows, withdrawn], "rate_date date, currency string, rate decimal(20,8), is_current boolean"
    )


def rates_of(frame: DataFrame, currency: str) -> list[tuple[str, str, str, bool, bool]]:
    rows = frame.where(frame.currency == currency).orderBy("date").collect()
    assert all((row.scope_country, row.scope_entity) == ("_all", "_all") for row in rows)
    return [
        (str(r["date"]), f"{r.rate.normalize():f}", str(r.rate_date), r.is_filled, r.is_fixed) for r in rows
    ]  # fmt: skip


def test_rates_of_every_day(spark: SparkSession) -> None:
    fx = silver_fx(
        spark, ("2022-12-30", "USD", "1.0666"), ("2023-01-02", "USD", "1.0683"),
        ("2022-12-30", "HRK", "7.5365"), ("2023-01-02", "HRK", "7.9"),
    )  # fmt: skip
    found = daily_rates(fx, [HRK])
    assert rates_of(found, "USD") == [
        ("2022-12-30", "1.0666", "2022-12-30", False, False),
        ("2022-12-31", "1.0666", "2022-12-30", True, False),
        ("2023-01-01", "1.0666", "2022-12-30", True, False),
        ("2023-01-02", "1.0683", "2023-01-02", False, False),
    ], "the weekend takes Friday's rate; a version that is not current counts for nothing"
    assert rates_of(found, "HRK") == [
        ("2022-12-30", "7.5365", "2022-12-30", False, False),
        ("2022-12-31", "7.5365", "2022-12-30", True, False),
        ("2023-01-01", "7.5345", "2023-01-01", False, True),
        ("2023-01-02", "7.5345", "2023-01-01", False, True),
    ], "from the day of joining the fixed rate holds, whatever is quoted"
    euro = rates_of(found, "EUR")
    assert (euro[0][0], euro[-1][0], {row[1] for row in euro}) == ("1999-01-01", "2023-01-02", {"1"})


@pytest.mark.parametrize(
    ("quoted", "last", "days", "final"),
    [
        pytest.param(
            "2022-03-01", "2022-06-01", 15, "2022-03-15", id="suspended: filled for fourteen days and no more"
        ),
        pytest.param("2022-03-01", "2022-03-05", 5, "2022-03-05", id="not beyond the last day that was quoted"),
        pytest.param("2022-03-05", "2022-03-05", 1, "2022-03-05", id="the last day itself"),
    ],
)
def test_how_long_a_rate_stands_in(spark: SparkSession, quoted: str, last: str, days: int, final: str) -> None:
    found = rates_of(daily_rates(silver_fx(spark, (quoted, "RUB", "117.2"), (last, "USD", "1")), []), "RUB")
    assert (len(found), found[-1][0]) == (days, final)


def test_a_currency_that_joins_later_than_the_data_has_no_fixed_rate(spark: SparkSession) -> None:
    fixed = [FixedRate("BGN", Decimal("1.95583"), date(2026, 1, 1))]
    assert rates_of(daily_rates(silver_fx(spark, ("2024-12-27", "USD", "1")), fixed), "BGN") == []


def test_a_day_and_currency_has_one_rate(spark: SparkSession) -> None:
    found = daily_rates(silver_fx(spark, ("2022-12-30", "HRK", "7.5"), ("2023-02-02", "HRK", "7.9")), [HRK])
    assert found.count() == found.select("currency", "date").distinct().count()


def test_fixed_rates_come_from_a_code_list() -> None:
    header = "source,source_code,group_code,valid_from,valid_to\n"
    assert fixed_rates(codes.parse("r", header + "Regulation,HRK,7.53450,2023-01-01,\n")) == (HRK,)
    with pytest.raises(ConfigError, match=r"codes/r.csv: a conversion rate needs its first day; found HRK"):
        fixed_rates(codes.parse("r", header + "Regulation,HRK,7.53450,,\n"))


GDP = (
    "scope_country string, scope_entity string, country_code string, year int, country_name string, "
    "value decimal(30,10), valid_from timestamp, valid_to timestamp, is_current boolean, is_deleted boolean"
)


def test_gdp_in_euro_as_known_at_any_date(spark: SparkSession) -> None:
    first, second, third = (datetime(year, 7, 1, tzinfo=UTC) for year in (2013, 2015, 2017))

    def version(
        year: int, value: str, since: datetime, to: datetime | None, *, live: bool = True
    ) -> tuple[object, ...]:
        return ("_all", "_all", "ITA", year, "Italy", Decimal(value), since, to, live and to is None, not live)

    gdp = spark.createDataFrame(
        [
            version(1998, "1000", first, None),
            version(2010, "1000", first, second),
            version(2010, "1100.5", second, third),
            version(2010, "1100.5", third, None, live=False),
            version(2012, "500", second, None),
        ],
        GDP,
    )
    fx = silver_fx(
        spark, ("2010-01-04", "USD", "1.4"), ("2010-01-05", "USD", "1.1"), ("2010-01-06", "USD", "1.5"),
        ("2010-01-05", "GBP", "0.9"), ("2012-01-02", "USD", "1.3"),
    ).where("rate_date < '2022-01-01'")  # fmt: skip
    found = gdp_eur(gdp, fx).orderBy("year", "known_from").collect()
    assert [
        (r.year, r.gdp_usd, r.usd_per_eur, r.gdp_eur, utc(r.known_from), utc(r.known_to), r.is_current) for r in found
    ] == [
        (1998, Decimal(1000), None, None, first, None, True),
        (2010, Decimal(1000), Decimal("1.33333333"), Decimal("750.0000"), first, second, False),
        (2010, Decimal("1100.5"), Decimal("1.33333333"), Decimal("825.3750"), second, third, False),
        (2012, Decimal(500), None, None, second, None, True),
    ], "before 1999 and for a year that is not over there is no rate; a withdrawn figure has no row"
