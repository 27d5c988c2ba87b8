"""Patterns of dates and times: what Spark would refuse, or read as another time, is found with the configuration."""

from __future__ import annotations

from datetime import datetime

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from varve.config.patterns import example, wrong_pattern

DAY, TIME = datetime(2026, 12, 31), datetime(2026, 12, 31, 14, 5, 9)  # noqa: DTZ001 (as Spark hands UTC out)

# pattern, part of what is said, the pattern that was meant, a text as it arrives, its time
WRONG = [
    ("yyyy-mm-dd", "m is the minute", "yyyy-MM-dd", "2026-12-31", DAY),
    ("yyyymmdd", "m is the minute", "yyyyMMdd", "20261231", DAY),
    ("dd/mm/yyyy HH:MM:ss", "m is the minute", "dd/MM/yyyy HH:mm:ss", "31/12/2026 14:05:09", TIME),
    ("yyyy-MM-dd HH:MM:ss", "M is the month", "yyyy-MM-dd HH:mm:ss", "2026-12-31 14:05:09", TIME),
    ("yyyyMMddHHMMss", "M is the month", "yyyyMMddHHmmss", "20261231140509", TIME),
    ("YYYY-MM-DD", "Y is the year that a week belongs to", "yyyy-MM-dd", "2026-12-31", DAY),
    ("DD.MM.yyyy", "D is the day of the year", "dd.MM.yyyy", "31.12.2026", DAY),
    ("dd.MM.uuuu", "u is the number of a weekday", "dd.MM.yyyy", "31.12.2026", DAY),
    ("%Y-%m-%d", "a pattern of strftime", "yyyy-MM-dd", "2026-12-31", DAY),
    ("%d/%m/%Y %H:%M:%S", "a pattern of strftime", "dd/MM/yyyy HH:mm:ss", "31/12/2026 14:05:09", TIME),
    ("yyyy-MM-dd hh:mm:ss", "h counts to 12", "yyyy-MM-dd HH:mm:ss", "2026-12-31 14:05:09", TIME),
    ("yyyy-MM-dd HH:mm:SS", "S is a fraction", "yyyy-MM-dd HH:mm:ss", "2026-12-31 14:05:09", TIME),
    ("yyyy-MM-ddTHH:mm:ss", "T is no letter", "yyyy-MM-dd'T'HH:mm:ss", "2026-12-31T14:05:09", TIME),
    ("yyyy-MM-ddd", "more than 2 d", "yyyy-MM-dd", "2026-12-31", DAY),
    ("yyyy-MM-dd HHH:mm:ss", "more than 2 H", "yyyy-MM-dd HH:mm:ss", "2026-12-31 14:05:09", TIME),
]
# pattern, part of what is said; no telling what was meant
HOPELESS = [
    ("dd/MM", "without a year"),
    ("HH:mm:ss", "without a year"),
    ("EEE, dd MMM yyyy", "reads no E"),
    ("ww/yyyy", "reads no w"),
    ("yyyy-MM-dd'T", "not closed"),
    ("yyyy-MM-dd[ HH:mm", "not closed"),
    ("yyyy-MM-dd yyyy", "y stands in it twice"),
    ("%U/%Y", "a pattern of strftime"),
]
RIGHT = [
    ("yyyy-MM-dd", "2026-12-31", DAY),
    ("yyyyMMdd", "20261231", DAY),
    ("d/M/y", "31/12/2026", DAY),
    ("MMM d, yyyy", "Dec 31, 2026", DAY),
    ("d MMMM yyyy", "31 December 2026", DAY),
    ("yyyyDDD", "2026365", DAY),
    ("dd/MM/yy", "31/12/26", DAY),
    ("yyyyMMddHHmmss", "20261231140509", TIME),
    ("HH:mm:ss dd/MM/yyyy", "14:05:09 31/12/2026", TIME),
    ("MM/dd/yyyy hh:mm:ss a", "12/31/2026 02:05:09 PM", TIME),
    ("yyyy-MM-dd'T'HH:mm:ss[.SSS]XXX", "2026-12-31T15:05:09+01:00", TIME),
    ("yyyy-MM-dd HH:mm:ssZ", "2026-12-31 15:05:09+0100", TIME),
    ("yyyy-MM-dd-HH.mm.ss.SSSSSS", "2026-12-31-14.05.09.000000", TIME),
    ("yyyy-MM", "2026-12", datetime(2026, 12, 1)),  # noqa: DTZ001
]


def read(spark: SparkSession, pattern: str, text: str) -> datetime | None:
    """What Spark reads; None where it refuses the pattern or the text."""
    found = spark.range(1).select(F.try_to_timestamp(F.lit(text), F.lit(pattern)).alias("at"))
    try:
        at = found.collect()[0]["at"]
    except PySparkException:
        return None
    assert at is None or isinstance(at, datetime)
    return at


@pytest.mark.parametrize(("pattern", "what", "meant", "text", "time"), WRONG, ids=[case[0] for case in WRONG])
def test_a_wrong_pattern_is_found_and_another_proposed(
    shared_spark: SparkSession, pattern: str, what: str, meant: str, text: str, time: datetime
) -> None:
    found = wrong_pattern(pattern)
    assert found is not None
    assert what in found.what
    assert found.meant == meant
    assert example(meant) == text
    assert read(shared_spark, meant, text) == time
    assert read(shared_spark, pattern, text) != time, "nothing is wrong with it"


@pytest.mark.parametrize(("pattern", "what"), HOPELESS, ids=[case[0] for case in HOPELESS])
def test_a_pattern_without_a_meaning_is_found(pattern: str, what: str) -> None:
    found = wrong_pattern(pattern)
    assert found is not None
    assert what in found.what
    assert found.meant is None


@pytest.mark.parametrize(("pattern", "text", "time"), RIGHT, ids=[case[0] for case in RIGHT])
def test_a_right_pattern_passes(shared_spark: SparkSession, pattern: str, text: str, time: datetime) -> None:
    assert wrong_pattern(pattern) is None
    assert read(shared_spark, pattern, text) == time
