"""`audit` and `history` as a person runs them: what they print, what they end with, and what they say to type next."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from conftest import PYTHONPATH
from in_process import Jobs, job_module
from test_invented_source import Invented
from varve.model.errors import UsageError
from varve.run.cli import launch
from varve.silver.keys import rows_of_key

KEY = ("--key", "k", "--key", "n0")


@dataclass(frozen=True)
class Place:
    """A lake of one entity: two keys, each with two versions, the first of them closed."""

    spark: SparkSession
    root: Path
    entity: str
    conf: Path

    @property
    def versions(self) -> Path:
        return self.root / "silver" / self.entity

    @property
    def log(self) -> Path:
        return self.root / "silver" / f"{self.entity}_changes"

    @property
    def words(self) -> list[str]:
        return ["--table", self.entity, "--lake", str(self.root), "--conf", str(self.conf)]

    def run(self, name: str, *words: str) -> int:
        job = job_module(name)
        return launch(job.run, job.parser, [*self.words, *words], writes=name != "history")


@pytest.fixture(scope="module")
def loaded(shared_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("jobs")
    source = Invented(folder, 5, scopes=1, shared=True)
    for day in (1, 2):
        source.deliver(source.scopes, day, rows=2)
    jobs = Jobs.at(folder / "lake", shared_spark, "first", conf=source.conf)
    source.load(jobs)
    jobs.lake.ledger.close()
    return Place(shared_spark, folder / "lake", source.entity, source.conf)


@pytest.fixture
def place(loaded: Place, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A lake that a test may spoil."""
    monkeypatch.setenv("COLUMNS", "300")
    shutil.copytree(loaded.root, tmp_path / "lake")
    shutil.copytree(loaded.conf, tmp_path / "conf")
    return Place(spark, tmp_path / "lake", loaded.entity, tmp_path / "conf")


# --- audit -----------------------------------------------------------------------------------------------------------


def nothing(place: Place) -> None:
    """All is well."""


def a_row_is_gone(place: Place) -> None:
    place.spark.sql(f"DELETE FROM delta.`{place.versions}` WHERE NOT is_open")


def versions_are_lost(place: Place) -> None:
    shutil.rmtree(place.versions)


def the_contract_is_edited(place: Place) -> None:
    """A column that was tracked is overwritten from now on."""
    path = place.conf / "contracts" / f"{place.entity}.odcs.yaml"
    contract = yaml.safe_load(path.read_text("utf-8"))
    contract["schema"][0]["properties"][-1]["customProperties"] = [{"property": "tracked", "value": False}]
    path.write_text(yaml.safe_dump(contract), "utf-8")


@pytest.mark.parametrize(
    ("spoiled", "code", "told", "typed", "mended"),
    [
        pytest.param(nothing, 0, "no findings", "", "", id="nothing"),
        pytest.param(a_row_is_gone, 3, "2 findings", "audit --table {0} --repair", "2 versions replaced by 4",
                     id="rows are gone"),
        pytest.param(versions_are_lost, 3, "the versions are not there", "silver --table {0}", "4 versions rebuilt",
                     id="the versions are lost"),
        pytest.param(the_contract_is_edited, 0, "not audited, the contract changed", "silver --table {0}",
                     "versions rebuilt", id="the contract was edited"),
    ],
)  # fmt: skip
def test_audit(
    place: Place, capsys: pytest.CaptureFixture[str],
    spoiled: Callable[[Place], None], code: int, told: str, typed: str, mended: str,
) -> None:  # fmt: skip
    spoiled(place)
    assert place.run("audit") == code
    out = capsys.readouterr().out
    assert told in out
    if not mended:
        assert "spark-submit" not in out
        return
    assert f"./spark-submit.sh {typed.format(place.entity)}" in out
    assert place.run("audit", "--repair") == 0
    assert mended in capsys.readouterr().out
    assert place.run("audit") == 0
    assert "no findings" in capsys.readouterr().out


def test_versions_that_a_repair_makes_anew_tell_of_contradictions(place: Place) -> None:
    """It is told once, by whoever folds."""
    log = place.spark.read.format("delta").load(str(place.log))
    last = f"valid_from = (select max(valid_from) from delta.`{place.log}`)"
    varied = log.columns[log.columns.index("op") - 1]  # the last column of the entity
    rival = log.where(last).limit(1).withColumn(varied, F.col(varied) + 1)
    rival.write.format("delta").mode("append").save(str(place.log))
    shutil.rmtree(place.versions)
    assert place.run("audit", "--repair") == 0
    rejects = place.spark.read.format("delta").load(str(place.root / "ops" / "rejects"))
    assert rejects.where("rule = 'contradiction'").count() == 2


# --- history ---------------------------------------------------------------------------------------------------------


def test_history_prints_a_life(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("history", *KEY, "--changes") == 0
    out = capsys.readouterr().out
    assert f"silver.{place.entity}: " in out
    assert out.count("2026-03-01.csv") == 2, "a version and what opened it"
    assert "the log" in out
    assert place.run("history", *KEY, "--json") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["valid_from"], first["valid_to"]) == ("2026-03-01 00:00:00+00:00", second["valid_from"])
    assert (second["file"], second["is_current"]) == ("all/2026-03-02.csv", True)
    assert place.run("history", "--key", "k", "--key", "n9") == 0
    assert capsys.readouterr().out.strip().endswith(" = n9.")


def test_history_prints_what_was_believed_at_a_time(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    log = place.spark.read.format("delta").load(str(place.log))
    learned = [row[0] for row in log.select(F.unix_micros("recorded_at")).distinct().collect()]
    first, second = (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at) for at in sorted(learned))
    ends = []
    for known_at in (first - timedelta(microseconds=1), first, second):
        assert place.run("history", *KEY, "--json", "--known-at", known_at.isoformat()) == 0
        ends.append([json.loads(line)["valid_to"] for line in capsys.readouterr().out.splitlines()])
    assert ends == [[], [None], ["2026-03-02 00:00:00+00:00", None]]
    assert place.run("history", *KEY, "--changes", "--known-at", first.isoformat()) == 0
    out = capsys.readouterr().out
    assert f"= n0, as known at {first:%Y-%m-%d %H:%M:%S}" in out
    assert "2026-03-02" not in out


@pytest.mark.parametrize(
    ("value", "kind", "is_value"),
    [
        pytest.param("12", "int", True, id="a number"),
        pytest.param("abc", "int", False, id="no number"),
        pytest.param("99999999999", "int", False, id="too large a number"),
        pytest.param("2026-02-30", "date", False, id="no day"),
        pytest.param("abc", "string", True, id="a text"),
    ],
)
def test_a_key_is_a_value_of_its_column(spark: SparkSession, value: str, kind: str, is_value: bool) -> None:
    frame = spark.sql(f"select try_cast('{value}' as {kind}) as key")
    if is_value:
        assert rows_of_key(frame, {"key": value}, None).count() == 1
    else:
        with pytest.raises(UsageError, match=f"no value of key; found {value}; expected {kind}"):
            rows_of_key(frame, {"key": value}, None)


QUICK = """\
spark:
  master: local[2]
  conf:
    spark.driver.extraJavaOptions: "-XX:TieredStopAtLevel=1"
    spark.sql.codegen.wholeStage: "false"
    spark.sql.codegen.factoryMode: NO_CODEGEN
"""
IN_MADRID = """\
import sys
from pathlib import Path
from in_process import job_module
from varve.spark import session
from varve.run.cli import launch
from varve.config import load
session.build(load(Path(sys.argv[-1])).settings, app="test")  # one for both
job = job_module("history")
sys.exit(max(launch(job.run, job.parser, sys.argv[1:] + more, writes=False) for more in ([], ["--json"])))
"""


def test_people_in_another_zone_are_told_utc(loaded: Place) -> None:
    """What is printed, and given to a program, is what `--at` and `--as-of` read."""
    (loaded.conf / "local.yml").write_text(QUICK)
    done = subprocess.run(
        [sys.executable, "-c", IN_MADRID, *KEY, *loaded.words],
        env=os.environ | {"TZ": "Europe/Madrid", "PYTHONPATH": PYTHONPATH, "VARVE_DRIVER_MEMORY": "1g"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table, record = done.stdout[: done.stdout.index("{")], json.loads(done.stdout.splitlines()[-1])
    assert "2026-03-01 " in table
    assert "2026-03-01 01:00" not in table, "an hour of Madrid"
    assert datetime.fromisoformat(record["valid_from"]) == datetime(2026, 3, 2, tzinfo=UTC)


# --- what cannot be read ---------------------------------------------------------------------------------------------


def lose_files(table: Path) -> None:
    for file in [path for path in table.rglob("*.parquet") if "_delta_log" not in path.parts]:
        file.unlink()


def break_log(table: Path) -> None:
    for file in (table / "_delta_log").glob("*.json"):
        file.write_text("{", "utf-8")


@pytest.mark.parametrize("spoil", [lose_files, break_log])
@pytest.mark.parametrize(
    ("is_log", "remedy"),
    [
        pytest.param(False, "Delete {0}, then: ./spark-submit.sh silver --table {1}", id="versions"),
        pytest.param(True, "Restore {0}_changes from a backup", id="log"),
    ],
)
@pytest.mark.parametrize("job", ["history", "audit"])
def test_a_table_that_cannot_be_read(
    place: Place, capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None], is_log: bool, remedy: str, job: str,
) -> None:  # fmt: skip
    spoil(place.log if is_log else place.versions)
    assert place.run(job, *(KEY if job == "history" else ())) == 4
    told = "".join(capsys.readouterr())
    assert remedy.format(place.versions, place.entity) in told
    assert "Run it again" not in told
    assert "defect" not in told
