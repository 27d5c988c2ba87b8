"""The answer book, by brute force: what bronze counts, what is rejected, and the versions that silver must hold.

No cleverness, so that a reader believes it: the state of a key at a moment is what the last statement before it says.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from examples.company.calendar import Delivery
from examples.company.world import UNMAPPED, Claim, Entity, Payment, State, Statement, midnight

TABLES = ("portfolio", "debtor", "claim", "payment")
PERSONAL = ("name", "email", "iban", "national_id")  # of a debtor: shown as classes of equal values


@dataclass(frozen=True, slots=True)
class Word:
    """A statement that counts: `state` from `at` on, None is gone."""

    at: datetime
    sequence: int
    state: State | None


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a record must not come further than `stage`; rule as the contracts name it, `framing` for torn records."""

    stage: str
    rule: str


def reject(record: Statement) -> Reject | None:
    """The verdict on one record."""
    if not record.key:
        return Reject("bronze", "key")
    state = record.state
    if isinstance(state, Claim) and state.status == UNMAPPED:
        return Reject("silver", "codes:claim_status")
    if isinstance(state, Claim) and state.balance < 0:
        return Reject("silver", "not_negative")
    if isinstance(state, Payment) and state.amount <= 0:
        return Reject("silver", "positive")
    return None


def bronze(deliveries: Sequence[Delivery]) -> list[dict[str, Any]]:
    """Records, rows and rejects of every bronze table: records = rows + rejected."""
    records: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for delivery in deliveries:
        records[delivery.feed.bronze] += len(delivery.records) + delivery.torn
        at_bronze = [r for record in delivery.records if (r := reject(record)) and r.stage == "bronze"]
        rejected[delivery.feed.bronze] += len(at_bronze) + delivery.torn
    return [
        {"table": table, "records": count, "rows": count - rejected[table], "rejected": rejected[table]}
        for table, count in sorted(records.items())
    ]


def rejects(deliveries: Sequence[Delivery]) -> list[dict[str, Any]]:
    """How many records each rule rejects, per bronze table that they came through."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for delivery in deliveries:
        if delivery.torn:
            counts[delivery.feed.bronze, "landing", "framing"] += delivery.torn
        if delivery.bad:
            continue  # parked before silver
        for record in delivery.records:
            if (verdict := reject(record)) is not None:
                counts[delivery.feed.bronze, verdict.stage, verdict.rule] += 1
    return [
        {"table": table, "stage": stage, "rule": rule, "rejected": count}
        for (table, stage, rule), count in sorted(counts.items())
    ]


def silver(deliveries: Sequence[Delivery], table: str) -> list[dict[str, Any]]:
    """The versions of an entity, ordered by scope, key and time."""
    words = _words([d for d in deliveries if d.feed.table == table])
    rows = [row for identity in sorted(words) for row in _versions(table, identity, words[identity])]
    return _classed(rows) if table == "debtor" else rows


def _words(deliveries: Iterable[Delivery]) -> dict[tuple[Entity, str], list[Word]]:
    """Every statement that counts, by identity; a picture also says of every other key that it is gone."""
    pictures = [d for d in deliveries if d.feed.mode == "snapshot"]
    words: dict[tuple[Entity, str], list[Word]] = {}
    for delivery in deliveries:
        for record in delivery.records:
            if reject(record) is None:
                words.setdefault((record.entity, record.key), []).append(Word(record.at, record.sequence, record.state))
    for picture in pictures:
        present = {(record.entity, record.key) for record in picture.records}  # the rejected ones too: they were there
        for identity, said in words.items():
            if identity[0] in picture.feed.entities and identity not in present:
                said.append(Word(midnight(picture.day), 0, None))
    return words


def _state_at(words: Sequence[Word], moment: datetime) -> State | None:
    """What the last word up to a moment says; of several at one time the one with the greatest sequence."""
    said = [word for word in words if word.at <= moment]
    return max(said, key=lambda word: (word.at, word.sequence)).state


def _versions(table: str, identity: tuple[Entity, str], words: Sequence[Word]) -> Iterator[dict[str, Any]]:
    """The half-open stretches of equal state; a deleted stretch after a live one shows what was deleted."""
    stretches: list[tuple[datetime, State | None]] = []
    for moment in sorted({word.at for word in words}):
        state = _state_at(words, moment)
        if state != (stretches[-1][1] if stretches else None):
            stretches.append((moment, state))
    if not stretches:
        return  # only ever deleted
    ends = [moment for moment, _ in stretches[1:]]
    entity, key = identity
    last: State | None = None
    for (begin, state), end in zip(stretches, [*ends, None], strict=True):
        last = state or last
        assert last is not None
        yield {
            "scope_country": entity.country,
            "scope_entity": entity.name,
            f"{table}_id": key,
            **{name: _text(value) for name, value in asdict(last).items()},
            "valid_from": _text(begin),
            "valid_to": _text(end),
            "is_current": end is None and state is not None,
            "is_deleted": state is None,
        }


def _text(value: object) -> Any:
    """Values as the book spells them: money with four digits, times in UTC with a Z."""
    if isinstance(value, Decimal):
        return f"{value:.4f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def _classed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Personal values replaced by the class of equal values that they belong to: the book knows nobody."""
    classes: dict[str, str] = {}
    for row in rows:
        for column in PERSONAL:
            if row[column] is not None:
                row[column] = classes.setdefault(row[column], f"debtor#{len(classes) + 1}")
    return rows
