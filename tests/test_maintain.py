"""Maintenance keeps what is asked for, does it once, and what comes from before the horizon is accounted for."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from in_process import PROJECT, Jobs
from test_invented_source import Invented
from varve.config import load
from varve.model.errors import ParkedError, UsageError
from varve.run.tasks import plan

EXPIRE = ("--expire-before", "2026-03-03")


def test_a_graph_maintains_every_week() -> None:
    """What it names is there, and it names no day: the contracts say how long."""
    config = load(PROJECT / "conf")
    (task,) = config.graphs["weekly"].in_order()
    (call,) = plan(task, {}, config.directory).calls
    assert call.file.name == "maintain.py"
    assert (call.args.table, call.args.expire_before, call.args.keep_days) == (None, None, None)
    assert any("history" in config.silver_contract(entity).retain for entity in config.entities())


def versions_of_tables(jobs: Jobs) -> dict[tuple[str, str], int | None]:
    return {table: jobs.lake.store.version(*table) for table in jobs.lake.store.tables() if table[0] != "ops"}


def test_expired_once_and_late_rows_are_rejects(tmp_path: Path, spark: SparkSession) -> None:
    source = Invented(tmp_path, 7, scopes=2, shared=True)
    jobs = Jobs.at(tmp_path / "lake", spark, "first", conf=source.conf)
    for day in (1, 2, 3, 4):
        source.deliver(source.scopes, day, rows=2)
    source.load(jobs)
    table = f"silver.{source.entity}"
    days = "extract(day from valid_from)"
    assert len(jobs.rows(table, days)) == 16, "two keys of two scopes, with a version for each day"

    jobs.run("maintain", *EXPIRE, "--keep-days", "0")
    left = sorted(int(day) for (day,) in jobs.rows(table, days))
    assert left == [2] * 4 + [3] * 4 + [4] * 4, "what ended at the horizon itself is kept"
    assert len(jobs.rows(f"{table}_changes", days, where="record = 'change'")) == 12
    (row,) = [row for row in jobs.lake.ledger.rows if row.step == "maintain"]
    assert "expired 4 changes and 4 versions before 2026-03-03; compacted the log" in str(row.reason)
    jobs.run("audit")

    before = versions_of_tables(jobs)
    jobs.run("maintain", *EXPIRE, "--keep-days", "0")
    assert versions_of_tables(jobs) == before
    assert jobs.lake.ledger.rows[-1].status == "skipped"

    source.deliver(source.scopes, 2, rows=5)  # the second day again, with other rows
    source.deliver(source.scopes, 5, rows=2)
    source.load(jobs)
    rejected = jobs.rows("ops.rejects", "rule, reason, scope_entity")
    assert [(rule, reason) for rule, reason, _ in rejected] == [
        ("before_horizon", "the history keeps nothing of before 2026-03-03 00:00")
    ] * 10
    loaded = [row for row in jobs.lake.ledger.rows if row.step == "silver" and row.rows_rejected]
    assert {(row.rows_in, row.rows_out, row.rows_rejected) for row in loaded} == {(7, 2, 5)}
    assert sorted(int(day) for (day,) in jobs.rows(table, days)) == [*left, *[5] * 4]
    jobs.run("audit")

    with pytest.raises(UsageError, match="cannot expire"):
        jobs.run("maintain", "--expire-before", "2999-01-01")


def test_a_snapshot_from_behind_the_horizon_is_parked_and_can_be_discarded(tmp_path: Path, spark: SparkSession) -> None:
    source = Invented(tmp_path, 8, scopes=1)
    jobs = Jobs.at(tmp_path / "lake", spark, "first", conf=source.conf)
    for day in (1, 4):
        source.deliver(source.scopes, day, rows=2)
    source.load(jobs)
    jobs.run("maintain", *EXPIRE)
    table, days = f"silver.{source.entity}", "extract(day from valid_from)"
    before = sorted(int(day) for (day,) in jobs.rows(table, days))
    assert before == [1, 1, 4, 4]

    source.deliver(source.scopes, 2, rows=1)
    source.deliver(source.scopes, 5, rows=3)
    for words in ((), ("--accept", "it is right")):
        with pytest.raises(ParkedError, match="of which the history keeps nothing") as parked:
            source.load(jobs) if not words else jobs.run("silver", *words)
        assert "--discard" in str(parked.value.remedy)
        assert "--accept" not in str(parked.value.remedy)
        assert sorted(int(day) for (day,) in jobs.rows(table, days)) == before, "and what is later waits"
    jobs.run("silver", "--plan")
    jobs.run("silver", "--discard", "too late")
    jobs.run("silver")
    assert sorted(int(day) for (day,) in jobs.rows(table, days)) == [*before, 5, 5, 5]
    jobs.run("audit")
