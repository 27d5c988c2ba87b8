"""`daily` on the embedded company, row for row against the answer book."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from examples.company import Company, make

from company_lake import TABLES, Project, Ran


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.at(tmp_path_factory.mktemp("daily"))


@pytest.fixture(scope="module")
def first(project: Project) -> Ran:
    return project.daily()


def test_the_day_ends_well(project: Project, first: Ran) -> None:
    assert first.code == 0, first.output


def test_the_lake_holds_what_the_answer_book_says(project: Project, first: Ran) -> None:
    assert project.differences() == []


def test_every_record_is_a_row_or_a_reject(project: Project, first: Ran) -> None:
    rejected = project.rejects()
    for row in project.book("bronze"):
        lost = sum(n for (table, stage, _), n in rejected.items() if table == row["table"] and stage != "silver")
        assert project.count(row["table"]) + lost == row["records"], row["table"]


def test_no_clear_name_is_in_silver(project: Project, first: Ran) -> None:
    clear = {r["full_name"] for r in project.rows("bronze", "es_core_debtor", "full_name")}
    assert len(clear) > 20
    files = [p for p in (project.lake / "silver").rglob("*") if p.is_file() and p.name.endswith((".json", ".crc"))]
    assert not [name for name in clear for file in files if name in file.read_text("utf-8", "ignore")]
    assert all(r["name"].startswith("k1:") for r in project.rows("silver", "debtor", "name"))


def test_a_second_run_loads_nothing(project: Project, first: Ran) -> None:
    before = project.versions()
    second = project.run("daily", "--run-id", "second")
    assert second.code == 0, second.output
    assert project.versions() == before
    assert second.seconds < first.seconds / 2
    log = project.lake / "ops" / "log" / "second.jsonl"
    events = [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []
    ended = [event["row"] for event in events if event.get("row")]
    assert sum(r.get("rows_in", 0) + r.get("rows_out", 0) + r.get("rows_rejected", 0) for r in ended) == 0
    assert project.differences() == []


@pytest.mark.slow
def test_day_by_day_is_the_same_as_all_at_once(tmp_path: Path, project: Project, first: Ran) -> None:
    grown = Project.at(tmp_path, days=1)
    for day in range(1, 7):
        make(grown.root / "company", Company(), until_day=day)
        assert (ran := grown.daily()).code == 0, ran.output
        assert grown.differences() == [], f"after day {day}"
    for entity in TABLES:
        columns = [c for c in grown.silver(entity)[0] if c not in ("name", "email", "iban", "national_id")]
        assert [[r[c] for c in columns] for r in grown.silver(entity)] == [
            [r[c] for c in columns] for r in project.silver(entity)
        ]


@pytest.mark.slow
def test_a_bad_extract_is_parked(tmp_path: Path) -> None:
    parked = Project.at(tmp_path, Company(with_bad_extract=True))
    ran = parked.daily()
    assert ran.code == 3, ran.output
    assert parked.differences() == []
