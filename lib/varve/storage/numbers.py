"""Objects of one folder that are numbered from 1 without gaps. Who puts the next number first has it: no clocks.

What is new is found by asking for the number after the last one that is known, in the time of what is new. A listing
only helps whoever knows none: some stores list late, and then the asking goes on from what was listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from varve.storage.files import Files

_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbered objects below a folder of a store: `<folder>/000000000001<ending>`."""

    files: Files
    folder: str
    ending: str = ".json"

    def key(self, number: int) -> str:
        """The key of a number."""
        return f"{self.folder}/{number:0{_DIGITS}d}{self.ending}"

    def last(self, known: int = 0) -> int:
        """The last number, 0 if there is none; known: one that is there, from which on to ask (0: list first).

        Asks for two numbers more: one that somebody has removed hides none after it, and is not given away again."""
        number = known or max(self.listed(), default=0)
        while (further := self._one_of(number + 1, number + 2)) is not None:
            number = further
        return number

    def _one_of(self, *numbers: int) -> int | None:
        return next((number for number in numbers if self.files.size(self.key(number)) is not None), None)

    def listed(self) -> Iterator[int]:
        """The numbers that a listing shows, sorted; one that somebody has removed is missing."""
        for entry in self.files.list(self.folder):
            name = entry.key.rpartition("/")[2].removesuffix(self.ending)
            if name.isdecimal():
                yield int(name)

    def put(self, number: int, content: bytes) -> None:
        """Take a number for this content. Raises Taken if it has one already."""
        self.files.put(self.key(number), content)

    def read(self, number: int) -> bytes:
        """What was put under a number. Raises Absent."""
        return self.files.read(self.key(number))
