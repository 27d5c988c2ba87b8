"""Windows of a table that is read by a cursor: closed at both ends, because rows share a cursor value.

A window begins where the last one ended, less the lag, so rows of the overlap are read again. Those that landed are
known by their digests, which the last extract keeps, and left out; what joined the bound later or changed there is new.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from varve.connect._takes import Bound
from varve.model.errors import ParkedError
from varve.raw import Published, RawDataset
from varve.storage import Absent

_BYTES: Final = 16  # of a digest


@dataclass(frozen=True, slots=True)
class CursorWindow:
    """The rows with lower <= cursor <= upper, and those without a cursor. lower: None at the first time; overlap: where
    the next window will begin."""

    lower: Bound
    upper: Bound
    overlap: Bound

    @classmethod
    def after(cls, last: Published | None, newest: Bound, lag: float) -> CursorWindow:
        """The window that follows the last one. newest: the greatest cursor value that the table holds now."""
        before = None if last is None or last.bounds is None else last.bounds["upper"]
        # A bound never goes back, not even when the rows that gave it are gone.
        upper = before if newest is None or (before is not None and newest < before) else newest  # type: ignore[operator]
        return cls(earlier(before, lag), upper, earlier(upper, lag))


def earlier(bound: Bound, lag: float) -> Bound:
    """A bound less the lag; a time is written as the bound is."""
    if bound is None or not lag:
        return bound
    if not isinstance(bound, str):
        return bound - (int(lag) if float(lag).is_integer() else lag)
    try:
        moment = datetime.fromisoformat(bound)
    except ValueError:
        raise ParkedError(
            "a lag needs a cursor that is a number or a time", found=bound, expected="such as 2026-03-01 10:00:00",
            remedy="Leave lag out in conf/sources.",
        ) from None  # fmt: skip
    text = (moment - timedelta(seconds=lag)).isoformat(bound[10:11] or "T", "microseconds")
    if len(bound) <= 10:
        return text[:10]
    date_and_time = len(bound.partition("+")[0].rstrip("Z"))
    return text[:date_and_time] + ("Z" if bound.endswith("Z") else "") + bound[date_and_time:].rstrip("Z")


@dataclass(slots=True)
class Overlap:
    """The rows of the overlap: those that landed already, and those that the next window will read again."""

    landed: Counter[bytes]
    digests: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, dataset: RawDataset, last: Published | None) -> Overlap:
        """What the last window kept. What retention let go of is not known: its rows land again, and say the same."""
        if last is None:
            return cls(Counter())
        try:
            content = b"".join(dataset.files.read(key) for key in dataset.manifest(last.number).keys("overlap"))
        except Absent:
            content = b""
        return cls(Counter(content[at : at + _BYTES] for at in range(0, len(content), _BYTES)))

    def new(self, rows: Iterable[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
        """The rows that did not land yet. rows: with a mark at their end, whether the next window reads them again.

        Of equal rows as many are left out as landed."""
        for *values, is_read_again in rows:
            row = tuple(values)
            digest = hashlib.blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()
            if is_read_again:
                self.digests.append(digest)
            if self.landed[digest] > 0:
                self.landed[digest] -= 1
            else:
                yield row

    @property
    def content(self) -> bytes:
        """The digests as they are kept."""
        return b"".join(self.digests)
