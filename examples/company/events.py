"""What is no table of a core system: promises, contacts, and the events of the web, AI agents and backends.

They go as far as bronze today. Events are CloudEvents, one per line, with `data` as an escaped JSON string.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from examples.company.world import ENTITIES, Entity, Ledger, date_of, midnight


@dataclass(frozen=True, slots=True)
class EventFile:
    """A file and the number of records in it."""

    path: str
    bronze: str
    text: str
    records: int


def files(books: Mapping[Entity, Ledger], *, until: int, seed: int, scale: int) -> Iterator[EventFile]:
    """The files up to a day: each kind comes every third day."""
    for day in range(2, until + 1):
        random = Random(f"{seed}/events/{day}")
        for offset, kind in ((2, _promises), (0, _contacts), (2, _clicks), (0, _ai_calls), (1, _backend)):
            if day % 3 == offset:
                yield kind(books, random, day, scale)


def _promises(books: Mapping[Entity, Ledger], random: Random, day: int, scale: int) -> EventFile:
    """Italy's call centre notes who promised to pay how much until when."""
    roma = books[ENTITIES[2]]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    writer.writerow(("Codice_Promessa", "Pratica", "Importo", "Scadenza", "Operazione", "Aggiornato_Il", "Progressivo"))
    claims = sorted({s.key for s in roma.statements if s.table == "claim" and s.day <= day and s.key})
    for number, claim in enumerate(random.sample(claims, 6 * scale), start=1):
        due = date_of(day) + timedelta(days=random.randint(3, 30))
        said = midnight(day) - timedelta(hours=8, seconds=-number)
        row = (f"PR{day:03d}{number:04d}", claim, f"{random.randint(20, 300)}.00", f"{due:%d/%m/%Y}")
        writer.writerow((*row, "I", f"{said:%Y-%m-%d %H:%M:%S}", day * 1_000_000 + number))
    return EventFile(f"it_core/promise/{date_of(day)}.csv", "it_core_promise", out.getvalue(), 6 * scale)


def _contacts(books: Mapping[Entity, Ledger], random: Random, day: int, scale: int) -> EventFile:
    """Poland's agents note whom they reached, and in their own words what was said."""
    lines = []
    for entity in ENTITIES[3:]:
        debtors = sorted({s.key for s in books[entity].statements if s.table == "debtor" and s.day <= day})
        for number, debtor in enumerate(random.sample(debtors, 4 * scale), start=1):
            at = midnight(day) - timedelta(hours=9, seconds=-number)
            lines.append({
                "contact_no": f"K{entity.number}-{day:03d}{number:04d}", "company": entity.name.upper(),
                "debtor_no": debtor, "at": f"{at:%Y-%m-%dT%H:%M:%S}Z",
                "channel": random.choice(("phone", "sms", "letter")),
                "outcome": random.choice(("reached", "no_answer", "wrong_number")),
                "note": random.choice(("Oddzwoni jutro.", "Prosi o raty;\n\"po pierwszym\".", "")),
            })  # fmt: skip
    return EventFile(f"pl_core/contact/{date_of(day)}.ndjson", "pl_core_contact", _lines(lines), len(lines))


def _clicks(books: Mapping[Entity, Ledger], random: Random, day: int, scale: int) -> EventFile:
    pages = ("/", "/my-debt", "/pay", "/plan", "/contact")
    data = [
        {"page": random.choice(pages), "visitor": f"v{random.randrange(40)}", "ms": random.randint(40, 900)}
        for _ in range(20 * scale)
    ]
    return _events("clickstream", "web.page_viewed", data, random, day)


def _ai_calls(books: Mapping[Entity, Ledger], random: Random, day: int, scale: int) -> EventFile:
    data: list[dict[str, Any]] = [
        {
            "gen_ai.request.model": random.choice(("small-1", "large-2")),
            "gen_ai.usage.input_tokens": random.randint(50, 4_000),
            "gen_ai.usage.output_tokens": random.randint(5, 900),
            "latency_ms": random.randint(200, 9_000),
            "prompt": "Ile jeszcze mam do zapłacenia?",
            "response": "Proszę podać numer sprawy.",
        }
        for _ in range(8 * scale)
    ]
    return _events("ai_call", "ai.call", data, random, day)


def _backend(books: Mapping[Entity, Ledger], random: Random, day: int, scale: int) -> EventFile:
    templates = ("reminder", "offer")
    data = [{"letter": f"L{day:03d}{n:04d}", "template": random.choice(templates)} for n in range(10 * scale)]
    return _events("backend", "letter.sent", data, random, day)


def _events(stream: str, kind: str, data: list[dict[str, Any]], random: Random, day: int) -> EventFile:
    """CloudEvents of all entities; the first one comes twice, as senders that were not answered do."""
    lines = []
    for number, content in enumerate(data, start=1):
        entity = random.choice(ENTITIES)
        at = midnight(day) - timedelta(days=1) + timedelta(seconds=random.randrange(86_400))
        lines.append({
            "specversion": "1.0", "id": f"{stream}-{day:03d}-{number:05d}", "source": f"/{stream}", "type": kind,
            "time": f"{at:%Y-%m-%dT%H:%M:%S}Z", "country": entity.country, "entity": entity.name,
            "data": json.dumps(content, ensure_ascii=False),
        })  # fmt: skip
    lines.append(lines[0])
    return EventFile(f"events/{stream}/{date_of(day)}.ndjson", f"company_events_{stream}", _lines(lines), len(lines))


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
