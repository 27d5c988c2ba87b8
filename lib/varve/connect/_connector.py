"""What a connector is: it owns its kind of source, and nothing else knows the kind."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from varve.config import Dataset, Kind
from varve.model.scope import Scope
from varve.raw import Manifest, Publisher


class Take(Protocol):
    """Something to land: one file, one table of one database."""

    @property
    def scope(self) -> Scope: ...

    def land(self) -> Manifest | None:
        """Land it, or park it with its reason; None when there is nothing new after all."""


@dataclass(slots=True)
class Plan:
    """takes: what is to be landed, in the order of declared date and path; notes: what was left and why."""

    takes: Sequence[Take] = ()
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tested. remedy: what to do about a problem; None when all is well."""

    what: str
    found: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Discovered:
    """Something in a source that could be a dataset. columns: name -> type as the source calls it."""

    name: str
    columns: Mapping[str, str]


class Connector(Kind):
    """One kind of source. `kind` is its name in `conf/sources`, `source` the model of its sources there.

    A source is an instance of that model, with absolute paths. A connector keeps no state between two calls.
    """

    @abstractmethod
    def discover(self, source: Any) -> Iterator[Discovered]:
        """What is there, configured or not."""

    @abstractmethod
    def check(self, source: Any) -> Iterator[Finding]:
        """Whether the source can be reached and has what the configuration names; reads no data."""

    @abstractmethod
    def plan(self, dataset: Dataset, publisher: Publisher, *, expected: bool) -> Plan:
        """What of the dataset is new.

        publisher: knows what was taken before, and is where the takes land; expected: a source that is not there is an
        error even when nothing ever came from it."""
