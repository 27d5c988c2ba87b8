"""What there is to know about a lake: what is fresh, waits, is parked or failed, and who works on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

# How a run ended; `running`: it has not; `killed`: it stopped without a word.
End = Literal["done", "nothing new", "parked", "failed", "killed", "running"]


@dataclass(frozen=True, slots=True)
class Freshness:
    """One dataset. declared: for which date the last extract speaks, its own moment where it declares none.

    expected: as configured; due: when it was expected last; asked_at: when extract looked for it last.
    """

    source: str
    dataset: str
    table: str
    extracts: int = 0
    landed_at: datetime | None = None
    declared: str | None = None
    file: str | None = None
    expected: str | None = None
    due: datetime | None = None
    asked_at: datetime | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """Extracts of one scope that are published, and that a table has not loaded. since: the first one landed.

    stopped: they wait after a parked one, or are it.
    """

    table: str
    scope: str
    extracts: int
    since: datetime
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Parked:
    """Something that waits for a person. extract: its id, None of what is no extract."""

    table: str
    scope: str | None
    extract: str | None
    since: datetime | None
    why: str
    remedy: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """What failed and was not done since. tables: with their scopes, as a person reads them; run_id: None of a table
    that cannot be read now."""

    how: Literal["failed", "killed", "unreadable"]
    tables: tuple[str, ...]
    error: str
    remedy: str | None = None
    run_id: str | None = None
    job: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A table or dataset that a run works on."""

    name: str
    job: str
    run_id: str
    host: str
    pid: int
    since: datetime


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run. ended_at: its last sign of life."""

    id: str
    job: str
    began_at: datetime
    ended_at: datetime
    end: End

    @property
    def seconds(self) -> float:
        """How long it took, or has taken until its last sign of life."""
        return (self.ended_at - self.began_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Next:
    """What to do next: a command, or a sentence that holds one."""

    do: str
    why: str


@dataclass(frozen=True, slots=True)
class Status:
    """A lake at a moment (UTC)."""

    at: datetime
    lake: str
    datasets: tuple[Freshness, ...]
    waiting: tuple[Waiting, ...]
    parked: tuple[Parked, ...]
    failures: tuple[Failure, ...]
    held: tuple[Held, ...]
    runs: tuple[PastRun, ...]  # the last one first

    @property
    def late(self) -> tuple[Freshness, ...]:
        """The datasets that should have landed."""
        return tuple(one for one in self.datasets if one.late)


@dataclass(frozen=True, slots=True)
class Extract:
    """An extract that a run took in; of one that raw does not know any more only the id."""

    id: str
    file: str | None = None
    declared: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What a run did to one scope of a table. committed: false of what a killed run had not committed when it died."""

    task: str
    step: str
    table: str | None
    scope: str | None
    end: str
    extracts: tuple[Extract, ...] = ()
    rows_in: int = 0
    rows_out: int = 0
    rows_rejected: int = 0
    version_before: int | None = None
    version_after: int | None = None
    seconds: float = 0.0
    error: str | None = None
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class OneRun:
    """A run, and what it did."""

    run: PastRun
    done: tuple[Done, ...]
