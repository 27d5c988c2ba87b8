"""What is published of one dataset, in the time of what is new.

Manifests are numbered without gaps, so whoever knows the last one asks for the next. What is known is kept in one
object, the roll-up: a cache, written again from the manifests when it is lost or cut.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from varve.model.contract import bronze_table
from varve.model.errors import ParkedError, StorageError
from varve.raw.manifest import Manifest, Published, decode
from varve.storage import Absent, Files, Numbers

ROLL_UP: Final = 64  # manifests that are opened one by one before they are rolled up


class _RollUp(msgspec.Struct, frozen=True):
    """The first `last` extracts of a dataset, those left out whose manifests were gone."""

    last: int
    published: list[Published]


@dataclass(frozen=True, slots=True)
class Catalog:
    """The extracts of a dataset by number; one whose manifest is gone is missing. last: the greatest number, 0: none"""

    published: Mapping[int, Published]
    last: int

    def __iter__(self) -> Iterator[Published]:
        """In the order of their numbers."""
        return iter(self.published.values())

    def in_order(self) -> list[Published]:
        """In the order in which they are to be loaded."""
        return sorted(self, key=lambda one: one.order)


@dataclass(frozen=True, slots=True)
class RawDataset:
    """The extracts of one dataset in a store."""

    files: Files
    source: str
    name: str

    @property
    def table(self) -> str:
        """The bronze table it is for."""
        return bronze_table(self.source, self.name)

    @property
    def folder(self) -> str:
        """The key below which everything of it lies."""
        return f"raw/{self.source}/{self.name}"

    @property
    def numbers(self) -> Numbers:
        """Its manifests under their numbers, which begin at 1."""
        return Numbers(self.files, f"{self.folder}/manifests")

    def catalog(self) -> Catalog:
        """Everything that is published. Reads the roll-up and the manifests after it. Raises StorageError."""
        rolled, tag = self._rolled_up()
        published = {one.number: one for one in rolled.published}
        last = self.numbers.last(rolled.last)
        for number in range(rolled.last + 1, last + 1):
            try:
                published[number] = self.manifest(number).published()
            except Absent:  # whoever needs it will say so
                continue
        if last - rolled.last >= ROLL_UP:
            self._roll_up(_RollUp(last, list(published.values())), tag)
        return Catalog(published, last)

    def manifest(self, number: int) -> Manifest:
        """The manifest of a number. Raises Absent when raw does not have it (any more)."""
        return decode(self.numbers.read(number), number=number, where=f"{self.files.root}/{self.numbers.key(number)}")

    @property
    def _key(self) -> str:
        return f"index/raw/{self.table}"

    def _rolled_up(self) -> tuple[_RollUp, str | None]:
        """The roll-up and its tag; an empty one where there is none, or it is cut."""
        try:
            content, tag = self.files.read_tagged(self._key)
        except Absent:
            return _RollUp(0, []), None
        try:
            return msgspec.json.decode(zlib.decompress(content), type=_RollUp), tag
        except (zlib.error, msgspec.MsgspecError):
            return _RollUp(0, []), tag

    def _roll_up(self, rolled: _RollUp, tag: str | None) -> None:
        content = zlib.compress(msgspec.json.encode(rolled), 1)
        try:
            if tag is None:
                self.files.put(self._key, content)
            else:
                self.files.replace(self._key, content, tag=tag)
        except StorageError:  # another run has done it, or nobody can write here
            return


def waiting(catalog: Catalog) -> list[Published]:
    """Parked extracts without a later readable delivery of the same file, discarded ones included."""
    return [one for one in catalog if one.status == "parked" and not replaced(one, catalog)]


def replaced(parked: Published, catalog: Catalog) -> bool:
    """Whether the file was delivered again for the same date, readable: then the parked one need not be decided about.

    Changes without a date may be others under the old name, and never replace what was parked.
    """
    if parked.mode == "changes" and parked.declared is None:
        return False
    same = (parked.origin.path, parked.declared)
    return any(
        one.status == "landed" and (one.origin.path, one.declared) == same and one.number > parked.number
        for one in catalog
    )


def parked_error(parked: Sequence[Published]) -> ParkedError:
    """An error that names the parked files, why each is parked, and what to do. parked: at least one."""
    reasons = "; ".join(f"{one.origin.path} is parked: {one.reason}" for one in parked)
    discard = f'./spark-submit.sh bronze --discard {parked[0].id} --reason "…"'
    return ParkedError(
        reasons,
        where=f"raw.{parked[0].table}",
        remedy=f"Have it delivered again under the same name and run again, or go on without it: {discard}",
    )
