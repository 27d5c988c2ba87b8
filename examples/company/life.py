"""The life of an entity: ordinary work, and the cases that chance might miss, each on its day.

Late rows, ties in time, returns, rows that must be rejected.
Spain sends pictures of its database, where late statements cannot be seen: most cases are Italy's and Poland's.
Claims 1 to 5 of an entity are their actors, and chance leaves those alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from random import Random

from examples.company import chance
from examples.company.chance import ACTORS
from examples.company.world import ENTITIES, UNMAPPED, Claim, Entity, Ledger, Payment, key_of, midnight


def live(entity: Entity, *, seed: int, days: int, scale: int = 1) -> Ledger:
    """The entity's books after so many days: ordinary work by day, the script in the evening.

    Each day has a seed of its own: it never depends on how many days follow.
    """
    books = Ledger(entity, seed, scale)
    for day in range(1, days + 1):
        random = Random(f"{seed}/{entity.country}/{entity.name}/{day}")
        books.day = day
        books.clock = midnight(day) - timedelta(days=28 if day == 1 else 1) + timedelta(hours=7)
        chance.found(books, random) if day == 1 else chance.work(books, random)
        _act(books, random)
    return books


def _act(books: Ledger, random: Random) -> None:
    for scene in _SCENES.get((books.entity.name, books.day), ()):
        scene(books)
    if books.entity.country != "ES" and books.day > 2:
        _late_correction(books, random)


def _actor(books: Ledger, number: int) -> tuple[str, Claim]:
    """Claim `number`, brought back if chance had deleted it."""
    key = key_of("claim", books.entity, number)
    if ("claim", key) in books.gone:
        books.say("claim", key, books.gone["claim", key][1])
    return key, books.claim(key)


def _evening(books: Ledger, minutes: int) -> None:
    """Move the clock behind the day's ordinary work, which ends before eight."""
    books.clock = max(books.clock, midnight(books.day) - timedelta(hours=4) + timedelta(minutes=minutes))


def _late_correction(books: Ledger, random: Random) -> None:
    """Yesterday's noon is corrected today, below whatever was said since."""
    noon = midnight(books.day) - timedelta(days=1, hours=12) + timedelta(seconds=random.randint(0, 3599))
    key = random.choice(books.keys("claim")[ACTORS:30])
    books.say("claim", key, replace(books.claim(key), status="litigation"), at=noon)
    paid = random.choice(books.keys("payment"))
    payment = books.live["payment", paid]
    assert isinstance(payment, Payment)
    books.say("payment", paid, replace(payment, amount=payment.amount + Decimal("0.01")), at=noon)


def _said_again(books: Ledger) -> None:
    """Claim 1 is said again, unchanged: no version opens, but the log must keep it."""
    key, claim = _actor(books, 1)
    _evening(books, 10)
    books.say("claim", key, claim)


def _late_below_unchanged(books: Ledger) -> None:
    """Between the two equal statements of claim 1 it was something else."""
    key, claim = _actor(books, 1)
    books.say("claim", key, replace(claim, status="litigation"), at=midnight(2) - timedelta(hours=4, minutes=-5))


def _deleted(books: Ledger) -> None:
    key, _ = _actor(books, 2)
    _evening(books, 20)
    books.say("claim", key, None)


def _late_below_tombstone(books: Ledger) -> None:
    """Claim 2 had changed five minutes before it was deleted, as is learned a day after."""
    key = key_of("claim", books.entity, 2)
    last = books.live.get(("claim", key)) or books.gone["claim", key][1]
    assert isinstance(last, Claim)
    at = midnight(books.day - 1) - timedelta(hours=4)
    books.say("claim", key, replace(last, status="in_negotiation"), at=at)


def _never_seen_is_deleted(books: Ledger) -> None:
    """A delete of a key that was never delivered waits in the log and shows nothing."""
    _evening(books, 30)
    books.say("claim", key_of("claim", books.entity, 900_001), None)


def _born_late(books: Ledger) -> None:
    """Claim 3 existed a year before the first thing that was said of it."""
    key, claim = _actor(books, 3)
    born = replace(claim, balance=claim.principal, status="open")
    books.say("claim", key, born, at=midnight(1) - timedelta(days=365))


def _twice_in_one_moment(books: Ledger) -> None:
    """Two statements at the same microsecond: the greater sequence holds, the other one leaves no version."""
    key, claim = _actor(books, 4)
    _evening(books, 40)
    books.say("claim", key, replace(claim, status="litigation"))
    books.say("claim", key, replace(claim, status="in_negotiation", balance=claim.balance + 7))


def _told_ahead(books: Ledger) -> None:
    """A payment plan that starts in April is known in March."""
    key, claim = _actor(books, 5)
    books.say("claim", key, replace(claim, status="paying"), at=midnight(31))


def _unmapped_status(books: Ledger) -> None:
    """The source invents a status: rejected until the code list knows it; the key stays what it was."""
    key, claim = _actor(books, 1)
    _evening(books, 50)
    books.say("claim", key, replace(claim, status=UNMAPPED))


def _mapped_again(books: Ledger) -> None:
    key, claim = _actor(books, 1)
    _evening(books, 55)
    books.say("claim", key, replace(claim, status="closed"))


def _negative_balance(books: Ledger) -> None:
    key, claim = _actor(books, 4)
    _evening(books, 60)
    books.say("claim", key, replace(claim, balance=Decimal("-12.50")))
    books.live["claim", key] = claim  # the company sees its error; the file is gone by then


def _nothing_paid(books: Ledger) -> None:
    _evening(books, 70)
    books.say(
        "payment",
        books.new_key("payment"),
        Payment(key_of("claim", books.entity, 1), books.clock.date(), Decimal(0), books.entity.currency, "cash"),
    )
    books.live.pop(("payment", books.statements[-1].key))


def _lost_key(books: Ledger) -> None:
    """A row that says all but whom it is about."""
    _, claim = _actor(books, 5)
    _evening(books, 80)
    books.say("claim", "", claim)
    books.live.pop(("claim", ""))


def _moves_abroad(books: Ledger) -> None:
    """Rome's newest debtor is Madrid's first one: the same account and address must give the same pseudonyms."""
    _evening(books, 90)
    madrid = live(ENTITIES[0], seed=books.seed, days=1)
    key = next(k for k in madrid.keys("debtor") if madrid.debtor(k).email and madrid.debtor(k).iban)
    books.say("debtor", books.new_key("debtor"), replace(madrid.debtor(key), city="Roma"))


_SCENES: Mapping[tuple[str, int], tuple[Callable[[Ledger], None], ...]] = {
    ("iberia1", 3): (_unmapped_status,),
    ("iberia1", 4): (_mapped_again,),
    ("roma1", 2): (_said_again, _deleted),
    ("roma1", 3): (_late_below_unchanged, _late_below_tombstone, _never_seen_is_deleted, _moves_abroad),
    ("roma1", 4): (_unmapped_status, _lost_key, _nothing_paid),
    ("roma1", 5): (_born_late,),
    ("wisla1", 2): (_said_again, _told_ahead),
    ("wisla1", 3): (_twice_in_one_moment, _late_below_unchanged),
    ("wisla1", 5): (_negative_balance, _nothing_paid, _born_late),
    ("wisla2", 3): (_deleted, _twice_in_one_moment),
    ("wisla2", 4): (_late_below_tombstone,),
}
