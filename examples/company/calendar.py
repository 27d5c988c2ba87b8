"""Which feed delivers on which day, and what a delivery holds: the records, in the order of the file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from examples.company.world import ENTITIES, Entity, Ledger, Statement, midnight

BAD_EXTRACT_DAY = 5  # Italy's debtors, cut to a third: not a day on which that feed delivers otherwise


@dataclass(frozen=True, slots=True)
class Feed:
    """One dataset of one source; it delivers on day 1 if `early`, and on every day with day % step == offset."""

    source: str
    table: str
    entities: tuple[Entity, ...]
    mode: Literal["snapshot", "changes"]
    step: int = 1
    offset: int = 0
    early: bool = True

    @property
    def bronze(self) -> str:
        return f"{self.source}_{self.table}"

    def delivers(self, day: int) -> bool:
        return (day == 1 and self.early) or (day > 1 and day % self.step == self.offset)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one feed delivers on one day. In a picture every record is the state of a key at midnight."""

    feed: Feed
    day: int
    records: tuple[Statement, ...]
    torn: int = 0  # records that cannot be framed, on top
    bad: bool = False  # an extract that the guard must park


_ES, _IT, _PL = (tuple(e for e in ENTITIES if e.country == country) for country in ("ES", "IT", "PL"))

FEEDS = (
    *(Feed("es_core", table, _ES, "snapshot", 3) for table in ("portfolio", "debtor", "claim", "payment")),
    Feed("it_core", "portfolio", _IT, "snapshot", 3, 1),
    Feed("it_core", "debtor", _IT, "snapshot", 3),
    Feed("it_core", "claim", _IT, "changes"),
    Feed("it_core", "payment", _IT, "changes", 3, 1),
    Feed("pl_core", "portfolio", _PL, "snapshot", 4, 1),
    Feed("pl_core", "debtor", _PL, "snapshot", 3, 1),
    Feed("pl_core", "claim", _PL[:1], "changes", 2),
    Feed("pl_core", "claim", _PL[1:], "changes", 2, 1),
    Feed("pl_core", "payment", _PL, "changes", 3),
)

_TORN: Mapping[tuple[str, int], int] = {("it_core_claim", 3): 1, ("pl_core_payment", 3): 1}


def deliveries(books: Mapping[Entity, Ledger], *, until: int, seed: int, with_bad_extract: bool) -> Iterator[Delivery]:
    """Everything delivered up to a day, day by day."""
    for day in range(1, until + 1):
        for feed in FEEDS:
            told = [s for e in feed.entities for s in books[e].statements if s.table == feed.table and s.day <= day]
            bad = with_bad_extract and feed.bronze == "it_core_debtor" and day == BAD_EXTRACT_DAY
            if not (feed.delivers(day) or bad):
                continue
            if feed.mode == "changes":
                yield Delivery(feed, day, _changes(feed, day, told, seed), _TORN.get((feed.bronze, day), 0))
            elif bad:
                picture = _picture(told, day)
                yield Delivery(feed, day, picture[: len(picture) // 3], bad=True)
            else:
                yield Delivery(feed, day, _picture(told, day))


def _picture(told: Sequence[Statement], day: int) -> tuple[Statement, ...]:
    """The live keys at midnight, as their system holds them: the last word on each."""
    last = {(s.entity, s.key): s for s in told}
    return tuple(
        replace(s, at=midnight(day), sequence=0, day=day) for _, s in sorted(last.items()) if s.state is not None
    )


def _changes(feed: Feed, day: int, told: Sequence[Statement], seed: int) -> tuple[Statement, ...]:
    """What was said since the last delivery, in no order, and some of it twice: here, and from the file before."""
    before = max((d for d in range(1, day) if feed.delivers(d)), default=0)
    fresh = [s for s in told if s.day > before]
    random = Random(f"{seed}/{feed.bronze}/{feed.entities[0].name}/{day}")
    repeatable = [s for s in fresh if s.key and s.state is not None][:1]
    delivered = [s for s in told if 0 < s.day <= before and s.key][-1:]
    records = [*fresh, *repeatable, *delivered]
    random.shuffle(records)
    return tuple(records)
