"""The company's words: its entities, what it keeps of them, and the statements that its systems make.

The working day before a delivery's date fills that delivery: the file of 3 March tells what happened on 2 March.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

FIRST_DAY = date(2026, 3, 2)  # the date of the first delivery
UNMAPPED = "unmapped"  # a status that the source knows and the group's code list does not


@dataclass(frozen=True, slots=True, order=True)
class Entity:
    country: str
    name: str
    number: int  # how its country's shared systems call it
    currency: str


ENTITIES = (
    Entity("ES", "iberia1", 1, "EUR"),
    Entity("ES", "iberia2", 2, "EUR"),
    Entity("IT", "roma1", 1, "EUR"),
    Entity("PL", "wisla1", 1, "PLN"),
    Entity("PL", "wisla2", 2, "PLN"),
)


@dataclass(frozen=True, slots=True)
class Portfolio:
    name: str
    purchased_on: date
    purchase_price: Decimal
    currency: str
    asset_class: str


@dataclass(frozen=True, slots=True)
class Debtor:
    name: str
    email: str | None
    iban: str | None
    national_id: str
    city: str
    kind: str


@dataclass(frozen=True, slots=True)
class Claim:
    portfolio_id: str
    debtor_id: str
    status: str
    principal: Decimal
    balance: Decimal
    currency: str
    opened_on: date


@dataclass(frozen=True, slots=True)
class Payment:
    claim_id: str
    posted_on: date
    amount: Decimal
    currency: str
    method: str


State = Portfolio | Debtor | Claim | Payment


@dataclass(frozen=True, slots=True)
class Statement:
    """One system's word on one key: from `at` on it looked like `state`, or (None) it was gone."""

    table: str  # portfolio, debtor, claim or payment
    entity: Entity
    key: str  # "" where the source lost it
    at: datetime  # [UTC] business time
    sequence: int  # the order in which the system wrote it down
    state: State | None
    day: int  # the day whose delivery tells it, 1 is the first
    last: State | None = None  # of a delete: what was deleted, where it is known


def date_of(day: int) -> date:
    return FIRST_DAY + timedelta(days=day - 1)


def midnight(day: int) -> datetime:
    """The moment at which the pictures of that day are taken."""
    return datetime.combine(date_of(day), datetime.min.time(), UTC)


@dataclass(slots=True)
class Ledger:
    """The books of one entity while its days go by: what was said, and what is alive after it."""

    entity: Entity
    seed: int
    scale: int = 1
    statements: list[Statement] = field(default_factory=list)
    live: dict[tuple[str, str], State] = field(default_factory=dict)
    gone: dict[tuple[str, str], tuple[int, State]] = field(default_factory=dict)  # key -> (day, last state)
    numbers: dict[str, int] = field(default_factory=dict)
    day: int = 1
    clock: datetime = field(default_factory=lambda: midnight(1))

    def say(self, table: str, key: str, state: State | None, *, at: datetime | None = None) -> None:
        """Write down a change; `at` for what is told late or ahead of time, and then the present stays as it is."""
        now = at or self.clock
        known = (table, key) in self.live or (table, key) in self.gone
        last = self.live.get((table, key)) if state is None else None
        self.statements.append(Statement(table, self.entity, key, now, len(self.statements) + 1, state, self.day, last))
        if at is not None and known:
            return
        if state is not None:
            self.live[table, key] = state
            self.gone.pop((table, key), None)
        elif last is not None:
            self.gone[table, key] = (self.day, last)
            del self.live[table, key]

    def new_key(self, table: str) -> str:
        number = self.numbers[table] = self.numbers.get(table, 0) + 1
        return key_of(table, self.entity, number)

    def keys(self, table: str) -> list[str]:
        return sorted(key for name, key in self.live if name == table)

    def claim(self, key: str) -> Claim:
        state = self.live["claim", key]
        assert isinstance(state, Claim)
        return state

    def debtor(self, key: str) -> Debtor:
        state = self.live["debtor", key]
        assert isinstance(state, Debtor)
        return state


def key_of(table: str, entity: Entity, number: int) -> str:
    """Keys as the countries write them: numbers, leading zeros, slashes. Poland's entities share debtor numbers."""
    if entity.country == "ES":
        return str(entity.number * 100_000 + number)
    if entity.country == "IT":
        return f"{ {'portfolio': '', 'debtor': '00', 'claim': 'RM-', 'payment': '9'}[table] }{number:06d}"
    if table == "claim":
        return f"W{entity.number}/2026/{number:04d}"
    if table == "debtor":
        return f"D-{number:05d}"
    return f"{table[:2].upper()}{entity.number}-{number:05d}"
