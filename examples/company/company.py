"""The company as a folder: what its systems delivered, day by day, and the answer book."""

import gzip
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from examples.company import answers, events, italy, poland, spain
from examples.company.calendar import Delivery, deliveries
from examples.company.life import live
from examples.company.world import ENTITIES, date_of

_STATE = "company.json"  # written last: the folder is complete up to the day that it names
_DRAFT = ".making"
_COUNTRY_OF = {"it_core": italy.table, "pl_core": poland.lines}
_NAMES: Mapping[str, str] = {
    "it_core_portfolio": "it_core/portfolio/{date}.csv",
    "it_core_debtor": "it_core/debtor/{date}.csv.gz",
    "it_core_claim": "it_core/claim/{date}.csv.gz",
    "it_core_payment": "it_core/payment/{date}.csv",
    "pl_core_portfolio": "pl_core/portfolio/{date}.ndjson",
    "pl_core_debtor": "pl_core/debtor/{date}.ndjson.gz",
    "pl_core_claim": "pl_core/claim/{entity}/{date}.ndjson",
    "pl_core_payment": "pl_core/payment/{date}.ndjson.gz",
}
_ENCODINGS: Mapping[str, str] = {"it_core_portfolio": "cp1252"}


@dataclass(frozen=True, slots=True)
class Company:
    """Which company it is; the same values give the same bytes."""

    seed: int = 7
    scale: int = 1  # multiplies the rows
    with_bad_extract: bool = False  # on day 5 Italy delivers a third of its debtors

    def __post_init__(self) -> None:
        if not 1 <= self.scale <= 400:
            raise ValueError(f"scale must lie in 1..400, got {self.scale}")


@dataclass(frozen=True, slots=True)
class Made:
    """What `make` did: the days that are there now, and how many files are new."""

    until_day: int
    files: int


def existing(out: Path) -> tuple[Company, int] | None:
    """The company in a folder and the day up to which it delivered; None if there is none."""
    state = out / _STATE
    if not state.exists():
        return None
    facts = json.loads(state.read_text(encoding="utf-8"))
    until = facts.pop("until_day")
    return Company(**facts), until


def make(out: Path, company: Company, *, until_day: int = 6) -> Made:
    """Deliver every day up to `until_day` that is not there yet, then bring the answer book up to that day.

    Each file appears whole; after a crash the next call completes what is missing. Days that were delivered stay as
    they are. Raises ValueError if the folder holds another company or something else.
    """
    if until_day < 1:
        raise ValueError(f"the first day is 1, got {until_day}")
    there = existing(out)
    if there is not None and there[0] != company:
        raise ValueError(f"{out} holds another company: {there[0]}, not {company}; name another folder or remove it")
    if there is not None and there[1] >= until_day:
        return Made(there[1], 0)
    draft = out / _DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    _write(draft, company, until_day)
    new = sum(_publish(file, out / file.relative_to(draft)) for file in sorted(draft.rglob("*")) if file.is_file())
    shutil.rmtree(draft)
    _put(out / _STATE, _dumped(asdict(company) | {"until_day": until_day}))
    return Made(until_day, new)


def _publish(file: Path, target: Path) -> bool:
    """Move a file to its place; only the answer book may replace what is there."""
    is_answer = "answers" in target.parts
    if target.exists() and not is_answer:
        if target.read_bytes() != file.read_bytes():
            raise ValueError(f"{target} is not what this company delivered that day; remove it or name another folder")
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    file.replace(target)
    return True


def _write(root: Path, company: Company, until: int) -> None:
    books = {e: live(e, seed=company.seed, days=until, scale=company.scale) for e in ENTITIES}
    told = list(deliveries(books, until=until, seed=company.seed, with_bad_extract=company.with_bad_extract))
    for day in range(1, until + 1):
        spanish = {d.feed.table: d.records for d in told if d.day == day and d.feed.source == "es_core"}
        if spanish:
            path = root / "es_core" / f"{date_of(day)}.db"
            path.parent.mkdir(parents=True, exist_ok=True)
            spain.write_copy(path, spanish)
    for delivery in told:
        if delivery.feed.source in _COUNTRY_OF:
            text = _COUNTRY_OF[delivery.feed.source](delivery)
            _put(root / _name(delivery), text, encoding=_ENCODINGS.get(delivery.feed.bronze, "utf-8"))
    others = list(events.files(books, until=until, seed=company.seed, scale=company.scale))
    for other in others:
        _put(root / other.path, other.text)
    _write_answers(root / "answers", told, others)


def _name(delivery: Delivery) -> str:
    return _NAMES[delivery.feed.bronze].format(date=date_of(delivery.day), entity=delivery.feed.entities[0].name)


def _write_answers(root: Path, told: Sequence[Delivery], others: Sequence[events.EventFile]) -> None:
    """The book for a lake that ran `daily`; with a bad extract also the one for after its discarding."""
    bronze = answers.bronze(told) + list(_bronze_of(others))
    _put(root / "bronze.ndjson", _lines(bronze))
    _put(root / "rejects.ndjson", _lines(answers.rejects(told)))
    parked = {(d.feed, d.day) for d in told if d.bad}
    accepted = [d for d in told if not d.bad]
    waiting = [d for d in accepted if not any(feed == d.feed and day < d.day for feed, day in parked)]
    for table in answers.TABLES:
        _put(root / "silver" / f"{table}.ndjson", _lines(answers.silver(waiting, table)))
        if parked:
            _put(root / "silver_after_discard" / f"{table}.ndjson", _lines(answers.silver(accepted, table)))


def _bronze_of(others: Sequence[events.EventFile]) -> Iterator[dict[str, Any]]:
    for table in sorted({o.bronze for o in others}):
        records = sum(o.records for o in others if o.bronze == table)
        yield {"table": table, "records": records, "rows": records, "rejected": 0}


def _put(path: Path, text: str, *, encoding: str = "utf-8") -> None:
    """Write a file whole; gzip without name and time, so that the same text gives the same bytes."""
    data = text.encode(encoding)
    if path.suffix == ".gz":
        data = gzip.compress(data, 6, mtime=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_bytes(data)
    draft.replace(path)


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(_dumped(row) for row in rows)


def _dumped(row: Mapping[str, Any]) -> str:
    return f"{json.dumps(row, ensure_ascii=False)}\n"
