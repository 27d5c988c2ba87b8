"""When a dataset is expected every day, and whether it is late.

A delivery belongs to the expected time that is nearest: what lands at 05:40 is the one of 06:00, and so is, late, what
lands at 07:30.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

AHEAD: Final = timedelta(hours=12)  # how long before its time a delivery may come


@dataclass(frozen=True, slots=True)
class Expected:
    """Every day when the clocks of a zone show this time.

    In the night in which they leave it out it is the moment as if they had not been put forward yet; where they show it
    twice, the first of the two."""

    at: time
    zone: str = "UTC"

    @classmethod
    def parse(cls, text: str) -> Expected:
        """What a configuration says: `06:00`, that is UTC, or `06:00 Europe/Madrid`."""
        at, _, zone = text.partition(" ")
        return cls(time.fromisoformat(at), zone or "UTC")

    def __str__(self) -> str:
        return f"{self.at:%H:%M} {self.zone}"

    def last(self, now: datetime) -> datetime:
        """The last expected time that has passed (UTC)."""
        zone = ZoneInfo(self.zone)
        day = now.astimezone(zone).date()
        days = (day - timedelta(days=back) for back in range(3))  # a zone may have left a day out
        moments = (datetime.combine(one, self.at, zone).astimezone(UTC) for one in days)
        return next(moment for moment in moments if moment <= now)

    def is_late(self, landed: datetime | None, now: datetime) -> bool:
        """Whether nothing has landed for the last expected time that has passed. landed: the last, None: never."""
        return landed is None or landed < self.last(now) - AHEAD
