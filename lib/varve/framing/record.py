"""A framed record, the names of its fields, how a file is written, and the error of a file that cannot be framed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

MOST_COLUMNS: Final = 10_000


class FramingError(Exception):
    """The file as a whole cannot be framed. reason: why, for the person who has to mend the file."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FramedRecord(NamedTuple):
    """A record. position: 1-based number in the file; values: in the order of `Columns.names`, trailing nulls may be
    left out; reason: why it is rejected, None for a good record."""

    position: int
    text: str
    values: Sequence[str | None] = ()
    reason: str | None = None


@dataclass(slots=True)
class Columns:
    """The names of the fields as received, in order of appearance: known whole when the last record was read."""

    names: list[str] = field(default_factory=list)
    _index: dict[str, int] = field(default_factory=dict)

    def declare(self, names: Sequence[str]) -> None:
        """Add the names that a header or a schema states. Raises FramingError beyond MOST_COLUMNS."""
        for name in names:
            self.index(name)

    def index(self, name: str) -> int:
        """The place (from 0) of a field; a new name gets the next one. Raises FramingError beyond MOST_COLUMNS."""
        found = self._index.get(name)
        if found is None:
            found = self._index[name] = len(self.names)
            self.names.append(name)
            if found >= MOST_COLUMNS:
                raise FramingError(f"more than {MOST_COLUMNS:,} fields, now {name[:80]!r}: are values used as names?")
        return found


@dataclass(frozen=True, slots=True)
class Format:
    """How the received bytes are written."""

    kind: Literal["csv", "json", "ndjson", "parquet"]
    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    header: Sequence[str] | None = None  # the names, where the file itself has none
    skip_rows: int = 0
    strip: bool = False  # blanks around values are not data, as in "1.17, 186.75"
    records: str | None = None  # json: path to the array
