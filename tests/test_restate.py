"""A day delivered again: parked while nobody has said so, and restated with both beliefs kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from in_process import Jobs
from test_invented_source import Invented
from varve.errors import ParkedError


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
