"""Two statements that contradict each other: set aside, shown with their key, the run parked; one is taken back."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from in_process import Jobs
from test_invented_source import Invented
from varve.model.errors import ParkedError, UsageError


def test_what_contradicts_is_in_the_rejects_once_and_one_is_taken_back(tmp_path: Path, spark: SparkSession) -> None:
    source = Invented(tmp_path, 8, scopes=1, shared=True)
    source.deliver(source.scopes, 1, rows=2)
    file = tmp_path / "in" / "all" / "2026-03-01.csv"
    header, first, *rest = file.read_text("utf-8").splitlines()
    cells = first.split(",")
    cells[-2] = "99"  # the last column of the entity; after it stands the owner
    file.write_text("\n".join([header, first, ",".join(cells), *rest]) + "\n", "utf-8")
    jobs = Jobs.at(tmp_path / "lake", spark, "first", conf=source.conf)
    with pytest.raises(ParkedError, match=r"2 statements contradict.*restate --table") as parked:
        source.load(jobs)
    source.load(jobs)  # nothing new: nothing more is said

    table = f"silver.{source.entity}"
    kept = jobs.rows(table, source.keys[1])
    assert kept == [("n1",)]
    rejects = jobs.rows(
        "ops.rejects", "scope_entity, record", where=f"rule = 'contradiction' and table_name = '{table}'"
    )
    assert [entity for entity, _ in rejects] == ["e00", "e00"]
    values = {json.loads(record)[source.keys[1]] for _, record in rejects}
    assert values == {"n0"}

    changed = list(source.columns)[-1]
    words = ("--table", source.entity, "--key", "k", "--key", "n0", "--at", "2026-03-01", "--reason", "sent twice")
    with pytest.raises(UsageError, match=f"2 statements are meant.*{changed}=99"):
        jobs.run("restate", *words)
    typed = re.search(r"spark-submit.sh restate (.*--says (\w+)=(\d+) --reason \S+);", str(parked.value.remedy))
    assert typed is not None, parked.value.remedy
    assert (typed[2], typed[3] in ("1", "99")) == (changed, True)
    jobs.run("restate", *shlex.split(typed[1]))
    left = 100 - int(typed[3])
    assert sorted(jobs.rows(table, f"{source.keys[1]}, {changed}")) == [("n0", left), ("n1", 2)]
    with pytest.raises(UsageError, match="0 statements are meant"):
        jobs.run("restate", *words, "--says", f"{changed}={typed[3]}")
