"""The time of this process is UTC, as that of its Spark session is.

PySpark converts naive datetimes in the process's time zone, not the session's. Unless that is UTC, a time copied from
our output and typed back is another moment.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


def work_in_utc() -> None:
    """Make UTC the local time of this process and of those that it starts."""
    os.environ["TZ"] = "UTC"
    time.tzset()


def utc(moment: datetime) -> datetime:
    """The moment with UTC as its offset; one without an offset is UTC."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970, as Spark's `unix_micros` counts them; a moment without an offset is UTC."""
    return (utc(moment) - EPOCH) // MICROSECOND


def of_microseconds(count: int) -> datetime:
    """The moment (UTC) so many microseconds after the beginning of 1970."""
    return EPOCH + count * MICROSECOND
