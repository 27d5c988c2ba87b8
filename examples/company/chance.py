"""What chance does: the first weeks of an entity, and its ordinary working days."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from random import Random

from examples.company import people
from examples.company.world import Claim, Debtor, Ledger, Payment, Portfolio, key_of

ACTORS = 5  # claims 1 to 5 belong to the script: chance leaves them alone
_FEBRUARY, _WORKDAY = 27 * 86_400, 12 * 3_600  # [s]


def _tick(books: Ledger, random: Random) -> None:
    """Some seconds pass, few enough for the day's work to end before the evening at every scale."""
    longest = _FEBRUARY // (110 * books.scale) if books.day == 1 else _WORKDAY // (25 * books.scale)
    books.clock += timedelta(seconds=random.randint(1, max(1, longest)))


def _chance(books: Ledger, table: str) -> list[str]:
    """The keys of a table that chance may choose from."""
    actors = {key_of("claim", books.entity, number) for number in range(1, ACTORS + 1)}
    return [key for key in books.keys(table) if table != "claim" or key not in actors]


def _money(random: Random, low: int, high: int) -> Decimal:
    return Decimal(random.randint(low * 100, high * 100)) / 100


def found(books: Ledger, random: Random) -> None:
    """The first delivery tells what four weeks of February built up."""
    for _ in range(2):
        _open_portfolio(books, random)
    for _ in range(30 * books.scale):
        _meet_debtor(books, random)
    for _ in range(40 * books.scale):
        _open_claim(books, random)
    for claim in random.sample(_chance(books, "claim"), 25 * books.scale):
        _collect(books, random, claim)


def work(books: Ledger, random: Random) -> None:
    """A working day: some are collected, some move on, few come, fewer go, and who left by mistake comes back."""
    if books.day % 3 == 0:
        _open_portfolio(books, random)
    for _ in range(2 * books.scale):
        _meet_debtor(books, random)
        _open_claim(books, random)
    open_claims = [key for key in _chance(books, "claim") if books.claim(key).balance > 0]
    for key in random.sample(open_claims, 3 * books.scale):
        _collect(books, random, key)
    for key in random.sample(_chance(books, "claim"), 2 * books.scale):
        _tick(books, random)
        moved = random.choice(("in_negotiation", "paying", "litigation"))
        books.say("claim", key, replace(books.claim(key), status=moved))
    for key in random.sample(books.keys("debtor"), 2 * books.scale):
        _tick(books, random)
        books.say("debtor", key, _moved(books.debtor(key), random, books.entity.country))
    for table in ("claim", "debtor", "payment")[: 2 + books.day % 2]:
        for key in random.sample(_chance(books, table), books.scale):
            _tick(books, random)
            books.say(table, key, None)
    for (table, key), (day, state) in sorted(books.gone.items()):
        if day == books.day - 2:
            _tick(books, random)
            books.say(table, key, state)


def _open_portfolio(books: Ledger, random: Random) -> None:
    _tick(books, random)
    key = books.new_key("portfolio")
    kind = random.choice(("consumer", "sme", "secured"))
    tranche = ",\nseconda tranche; à vue" if books.entity.country == "IT" else ""
    label = f'{books.entity.name.capitalize()} {kind} "{key}"{tranche}'
    bought = books.clock.date() - timedelta(days=random.randint(30, 900))
    price = _money(random, 90_000, 4_000_000)
    books.say("portfolio", key, Portfolio(label, bought, price, books.entity.currency, kind))


def _meet_debtor(books: Ledger, random: Random) -> None:
    _tick(books, random)
    country = books.entity.country
    kind = "company" if random.random() < 0.15 else "person"
    name = people.name(random, country, kind)
    email = people.email(random, name, country) if random.random() < 0.8 else None
    iban = people.iban(random, country) if random.random() < 0.9 else None
    city = random.choice(people.CITIES[country])
    national_id = people.national_id(random, country)
    books.say("debtor", books.new_key("debtor"), Debtor(name, email, iban, national_id, city, kind))


def _moved(debtor: Debtor, random: Random, country: str) -> Debtor:
    if random.random() < 0.5:
        return replace(debtor, email=people.email(random, debtor.name, country))
    return replace(debtor, city=random.choice(people.CITIES[country]), iban=people.iban(random, country))


def _open_claim(books: Ledger, random: Random) -> None:
    _tick(books, random)
    principal = _money(random, 200, 30_000)
    opened = books.clock.date() - timedelta(days=random.randint(60, 2000))
    books.say(
        "claim",
        books.new_key("claim"),
        Claim(
            random.choice(books.keys("portfolio")), random.choice(books.keys("debtor")), "open",
            principal, principal, books.entity.currency, opened,
        ),
    )  # fmt: skip


def _collect(books: Ledger, random: Random, key: str) -> None:
    """A payment, and the claim that it lowers, in one booking."""
    _tick(books, random)
    claim = books.claim(key)
    amount = min(claim.balance, _money(random, 20, 900))
    method = random.choice(("transfer", "card", "direct_debit", "cash"))
    books.say("payment", books.new_key("payment"), Payment(key, books.clock.date(), amount, claim.currency, method))
    left = claim.balance - amount
    books.say("claim", key, replace(claim, balance=left, status="paying" if left else "closed"))
