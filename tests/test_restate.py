"""What was delivered again: parked while nobody has said so, and restated with both beliefs kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from in_process import Jobs
from test_invented_source import Invented
from varve import raw
from varve.errors import ParkedError, UsageError
from varve.silver import EntityLoad, plan_of
from varve.silver.inputs import pseudonym_key
from varve.silver.life import Origin, life_of


def test_a_corrected_day_replaces_what_was_said(tmp_path: Path, spark: SparkSession) -> None:
    source = Invented(tmp_path, 5, scopes=1)
    jobs = Jobs.at(tmp_path / "lake", spark, "first", conf=source.conf)
    for day, rows in ((1, 4), (2, 4)):
        source.deliver(source.scopes, day, rows)
    source.load(jobs)
    table, day = f"silver.{source.entity}", "cast(valid_from as date)"
    before = jobs.rows(table, f"{source.keys[1]}, {day}, is_deleted")
    assert len(before) == 8

    source.deliver(source.scopes, 1, rows=3)  # the day again, without the fourth key
    with pytest.raises(ParkedError, match="another snapshot of that very moment"):
        source.load(jobs)
    assert jobs.rows(table, f"{source.keys[1]}, {day}, is_deleted") == before

    words = ("--table", source.entity, "--day", "2026-03-01", "--reason", "the fourth was a test")
    jobs.run("restate", *words)
    after = jobs.rows(table, f"{source.keys[1]}, {day}, is_deleted")
    assert sorted(set(before) - set(after)) == [row for row in before if row[0] == "n3" and row[1].day == 1]
    assert set(after) <= set(before)
    known = jobs.rows(f"{table}_changes", "count(*)", where="record = 'change' and sequence is null")
    assert known[0][0] >= 8, "what was believed before stays in the log"

    jobs.run("restate", *words)
    source.load(jobs)
    assert sorted(jobs.rows(table, f"{source.keys[1]}, {day}, is_deleted")) == sorted(after)


def test_without_a_day_every_extract_is_said_again(tmp_path: Path, spark: SparkSession) -> None:
    """Of a scope when one is named, else of the entity; the last delivery of each day counts."""
    source = Invented(tmp_path, 6, scopes=2)
    jobs = Jobs.at(tmp_path / "lake", spark, "first", conf=source.conf)
    for rows in (3, 2):  # the second time without the third key, on both days
        for day in (1, 2):
            source.deliver(source.scopes, day, rows)
            jobs.run("extract")
        jobs.run("bronze")
        if rows == 3:
            jobs.run("silver")
    words = ("--table", source.entity, "--reason", "the third was a test")

    def keys(scope: str) -> set[str]:
        found = jobs.rows(f"silver.{source.entity}", source.keys[1], where=f"scope_entity = '{scope}'")
        return {key for (key,) in found}

    jobs.run("restate", *words, "--scope", "ES/e00")
    assert (keys("e00"), keys("e01")) == ({"n0", "n1"}, {"n0", "n1", "n2"})
    jobs.run("restate", *words)
    assert (keys("e00"), keys("e01")) == ({"n0", "n1"}, {"n0", "n1"})
    days = {m.id: m.as_of.day for m in raw.manifests(jobs.lake.root, source.source, source.dataset)}
    said = [days[row.manifests[0]] for row in jobs.lake.ledger.rows if row.step == "restate"]
    assert said == [1, 2, 1, 1, 2, 2], "in the order of time"
    with pytest.raises(UsageError, match="bronze has no extract of that"):
        jobs.run("restate", *words, "--day", "2026-03-05")


def test_history_tells_the_file_and_the_run_of_every_version(tmp_path: Path, spark: SparkSession) -> None:
    source = Invented(tmp_path, 7, scopes=1)
    for run, day, rows in (("first", 1, 2), ("second", 2, 2), ("third", 3, 1), ("again", 2, 1)):
        source.deliver(source.scopes, day, rows)
        jobs = Jobs.at(tmp_path / "lake", spark, run, conf=source.conf)
        if run == "again":
            with pytest.raises(ParkedError):
                source.load(jobs)
            jobs.run("restate", "--table", source.entity, "--day", "2026-03-02", "--reason", "corrected")
        else:
            source.load(jobs)
    contract = jobs.lake.config.silver_contract(source.entity)

    def told(key: str) -> list[tuple[str, bool, Origin]]:
        life = life_of(jobs.lake, contract, {source.keys[0]: "k", source.keys[1]: key})
        assert len(life.changes) == len(life.change_origins)
        days = [f"{row.valid_from:%d}" for row in life.versions]
        return list(zip(days, [row.is_deleted for row in life.versions], life.version_origins, strict=True))

    file = "e00/2026-03-{}.csv".format
    assert told("n0") == [
        ("01", False, Origin(file("01"), "first")),
        ("02", False, Origin(file("02"), "second")),  # what was said again said the same of it
        ("03", False, Origin(file("03"), "third")),
    ]
    assert told("n1") == [("01", False, Origin(file("01"), "first")), ("02", True, Origin(file("02"), "again"))]


def test_a_plan_names_keys_and_writes_nothing(tmp_path: Path, spark: SparkSession) -> None:
    source = Invented(tmp_path, 9, scopes=1)
    jobs = Jobs.at(tmp_path / "lake", spark, "first", conf=source.conf)
    load = EntityLoad(
        jobs.lake, jobs.lake.config.silver_contract(source.entity), lists={}, key=pseudonym_key(jobs.lake)
    )
    source.deliver(source.scopes, 1, rows=3)
    source.load(jobs)
    assert plan_of(load, frozenset()) == f"silver.{source.entity}: nothing new"

    source.deliver(source.scopes, 2, rows=2)
    for job in ("extract", "bronze"):
        jobs.run(job)
    versions = [jobs.lake.store.version("silver", t) for t in (source.entity, f"{source.entity}_changes")]
    told = plan_of(load, frozenset())
    assert not isinstance(told, str)
    assert [list(column.cells) for column in told.columns] == [
        ["ES/e00"],
        ["2"],
        ["0"],
        ["0"],
        ["2"],
        ["1"],
        ["lets it in"],
    ]
    first, *samples = str(told.caption).splitlines()
    assert first.startswith("manifest ")
    assert [sample.partition(":")[0] for sample in samples] == ["changed", "changed", "deleted"]
    assert samples[-1].endswith(f"{source.keys[1]} = n2")
    assert versions == [jobs.lake.store.version("silver", t) for t in (source.entity, f"{source.entity}_changes")]
