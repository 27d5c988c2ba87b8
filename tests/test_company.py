"""The embedded company: the same bytes every time, deliveries that grow, an answer book that holds what it should."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from examples.company import Company, existing, make
from examples.company.calendar import deliveries
from examples.company.life import live
from examples.company.world import ENTITIES

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "company"
    make(out, Company())
    return out


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def book(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "answers" / f"{name}.ndjson").read_text("utf-8").splitlines()]


def test_the_same_seed_gives_the_same_bytes(company: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.company", "--out", str(tmp_path / "again")]
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONHASHSEED": "99", "TZ": "Asia/Tokyo"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert bytes_of(tmp_path / "again") == bytes_of(company)
    make(tmp_path / "other", Company(seed=8))
    assert (
        bytes_of(tmp_path / "other")["answers/silver/claim.ndjson"] != bytes_of(company)["answers/silver/claim.ndjson"]
    )


def test_day_by_day_gives_the_same_as_all_at_once(company: Path, tmp_path: Path) -> None:
    out = tmp_path / "grown"
    for day in range(1, 7):
        before = bytes_of(out) if day > 1 else {}
        make(out, Company(), until_day=day)
        delivered = {name: data for name, data in before.items() if not name.startswith(("answers", "company.json"))}
        assert delivered.items() <= bytes_of(out).items()
        assert existing(out) == (Company(), day)
    assert bytes_of(out) == bytes_of(company)


def test_what_is_there_is_left_alone(company: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in company.rglob("*")}
    assert make(company, Company()).files == 0
    assert make(company, Company(), until_day=3).until_day == 6
    assert {p: p.stat().st_mtime_ns for p in company.rglob("*")} == before


def test_a_crash_is_completed(company: Path, tmp_path: Path) -> None:
    out = tmp_path / "crashed"
    make(out, Company())
    (out / "company.json").unlink()
    (out / "it_core" / "claim" / "2026-03-04.csv.gz").unlink()
    (out / ".making").mkdir()
    (out / ".making" / "half").write_text("x")
    make(out, Company())
    assert bytes_of(out) == bytes_of(company)


@pytest.mark.parametrize(
    ("another", "until_day"),
    [pytest.param(Company(seed=8), 6, id="another seed"), pytest.param(Company(), 0, id="day 0")],
)
def test_what_does_not_fit_is_refused(company: Path, another: Company, until_day: int) -> None:
    with pytest.raises(ValueError, match=r"another company|first day"):
        make(company, another, until_day=until_day)


def test_a_delivered_file_is_never_rewritten(tmp_path: Path) -> None:
    make(tmp_path, Company(), until_day=2)
    (tmp_path / "it_core" / "claim" / "2026-03-02.csv.gz").write_bytes(b"mended by hand")
    with pytest.raises(ValueError, match="is not what this company delivered"):
        make(tmp_path, Company(), until_day=3)


def test_it_knows_nothing_of_what_it_tests() -> None:
    code = (
        "import sys, examples.company; print([m for m in sys.modules if m.startswith(('varve', 'pyspark', 'pandas'))])"
    )
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


# What no frame of ours counts: the records in the files, each kind by the plainest reader there is.
def records(folder: Path) -> Iterator[tuple[str, int]]:
    for path in sorted(folder.rglob("*")):
        source, dataset = (*path.relative_to(folder).parts, "")[:2]
        table = f"{ {'events': 'company_events'}.get(source, source) }_{dataset}"
        data = (
            gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() if path.is_file() else b""
        )
        if path.suffix == ".db":
            database = sqlite3.connect(path)
            for (name,) in database.execute("select name from sqlite_master where type = 'table'").fetchall():
                yield f"es_core_{name.lower()}", database.execute(f"select count(*) from {name}").fetchone()[0]
            database.close()
        elif ".csv" in path.name:
            encoding = "cp1252" if dataset == "portfolio" else "utf-8"
            yield table, len(list(csv.reader(io.StringIO(data.decode(encoding), newline=""), delimiter=";"))) - 1
        elif ".ndjson" in path.name and source != "answers":
            yield table, len(data.decode().splitlines())


def test_the_book_counts_every_record_in_the_files(company: Path) -> None:
    found: Counter[str] = Counter()
    for table, count in records(company):
        found[table] += count
    told = book(company, "bronze")
    assert {row["table"]: row["records"] for row in told} == dict(found)
    assert all(row["records"] == row["rows"] + row["rejected"] for row in told)


def test_no_person_is_in_the_book(company: Path) -> None:
    text = "".join(p.read_text("utf-8") for p in (company / "answers").rglob("*.ndjson"))
    database = sqlite3.connect(company / "es_core" / "2026-03-02.db")
    people = [v for row in database.execute("select FullName, Email, Iban, Nif from Debtor") for v in row if v]
    database.close()
    assert len(people) > 100
    assert not [value for value in people if value in text]


def test_one_person_in_two_countries_is_one_class(company: Path) -> None:
    countries: dict[str, set[str]] = {}
    for row in book(company, "silver/debtor"):
        for column in ("email", "iban", "national_id"):
            if row[column] is not None:
                countries.setdefault(row[column], set()).add(row["scope_country"])
    assert Counter(frozenset(found) for found in countries.values())[frozenset({"ES", "IT"})] == 3


# Lives that can be told without the generator: (status, valid_from, valid_to, is_deleted).
LIVES = {
    ("IT", "RM-000001", "late between two equal statements, then rejected for its code"): [
        ("open", "2026-02-06T10:27:43Z", "2026-03-02T20:05:00Z", False),
        ("litigation", "2026-03-02T20:05:00Z", "2026-03-02T20:10:00Z", False),
        ("open", "2026-03-02T20:10:00Z", None, False),
    ],
    ("IT", "RM-000002", "late below its tombstone, then back as it was deleted"): [
        ("open", "2026-02-06T14:15:38Z", "2026-03-02T20:00:00Z", False),
        ("in_negotiation", "2026-03-02T20:00:00Z", "2026-03-02T20:20:00Z", False),
        ("in_negotiation", "2026-03-02T20:20:00Z", "2026-03-04T10:41:39Z", True),
        ("open", "2026-03-04T10:41:39Z", None, False),
    ],
    ("IT", "RM-000003", "equal to what is learned late of the time before it"): [
        ("open", "2025-03-02T00:00:00Z", None, False),
    ],
    ("PL", "W1/2026/0004", "two statements at one moment"): [
        ("open", "2026-02-06T22:09:23Z", "2026-03-03T20:40:00Z", False),
        ("in_negotiation", "2026-03-03T20:40:00Z", None, False),
    ],
    ("PL", "W1/2026/0005", "known before it holds"): [
        ("open", "2026-02-07T03:18:06Z", "2026-04-01T00:00:00Z", False),
        ("paying", "2026-04-01T00:00:00Z", None, False),
    ],
    ("ES", "100001", "its code is rejected in one picture and good in the next"): [
        ("open", "2026-03-02T00:00:00Z", "2026-03-07T00:00:00Z", False),
        ("closed", "2026-03-07T00:00:00Z", None, False),
    ],
    ("IT", "RM-900001", "deleted and never seen"): [],
}


@pytest.mark.parametrize(
    ("country", "key", "expected"), [pytest.param(c, k, v, id=i) for (c, k, i), v in LIVES.items()]
)
def test_lives_of_single_claims(company: Path, country: str, key: str, expected: list[tuple[Any, ...]]) -> None:
    rows = [r for r in book(company, "silver/claim") if (r["scope_country"], r["claim_id"]) == (country, key)]
    assert [(r["status"], r["valid_from"], r["valid_to"], r["is_deleted"]) for r in rows] == expected
    assert [r["is_current"] for r in rows] == [r["valid_to"] is None and not r["is_deleted"] for r in rows]


def test_every_kind_of_trouble_occurs() -> None:
    books = {e: live(e, seed=7, days=6) for e in ENTITIES}
    found: Counter[str] = Counter()
    seen: dict[Any, list[Any]] = {}
    for delivery in deliveries(books, until=6, seed=7, with_bad_extract=False):
        found["torn record"] += delivery.torn
        if delivery.feed.mode == "snapshot":
            continue
        times = [r.at for r in delivery.records]
        found["file out of order"] += times != sorted(times)
        for record in delivery.records:
            known = seen.setdefault((delivery.feed.bronze, record.entity, record.key), [])
            found["sent again"] += record in known
            found["late"] += any(record.at < other.at and other.day < record.day for other in known)
            found["delete"] += record.state is None
            found["delete of a stranger"] += record.state is None and not known
            found["return"] += any(o.state is None and o.at < record.at for o in known) and record.state is not None
            found["one moment twice"] += any(o.at == record.at and o != record for o in known)
            known.append(record)
    assert {kind for kind, count in found.items() if count} == set(found), found


def test_the_drift_is_there(company: Path) -> None:
    claims = [gzip.decompress(p.read_bytes()).decode() for p in sorted((company / "it_core" / "claim").glob("*"))]
    assert ["Provenienza" in text.splitlines()[0] for text in claims] == [False] * 3 + [True] * 3
    assert [";3000000" in text for text in claims] == [False] * 4 + [True, False]


def test_the_bad_extract_is_parked_and_what_follows_waits(tmp_path: Path, company: Path) -> None:
    make(tmp_path, Company(with_bad_extract=True))
    extracts = [tmp_path / "it_core" / "debtor" / f"2026-03-{day}.csv.gz" for day in ("04", "06")]
    good, cut = (len(gzip.decompress(extract.read_bytes()).splitlines()) for extract in extracts)
    assert cut < good / 2
    names = {name for name in bytes_of(tmp_path) if not name.startswith(("answers", "company.json"))}
    assert names - bytes_of(company).keys() == {"it_core/debtor/2026-03-06.csv.gz"}
    parked, after = book(tmp_path, "silver/debtor"), book(tmp_path, "silver_after_discard/debtor")
    assert max(row["valid_from"] for row in parked if row["scope_country"] == "IT") < "2026-03-06"
    assert after == book(company, "silver/debtor")


def test_scale_multiplies_the_rows(tmp_path: Path, company: Path) -> None:
    make(tmp_path, Company(scale=3))
    small, large = ({r["table"]: r["records"] for r in book(out, "bronze")} for out in (company, tmp_path))
    assert 2.5 < large["es_core_claim"] / small["es_core_claim"] < 3.5
    assert 2.5 < large["it_core_payment"] / small["it_core_payment"] < 3.5
