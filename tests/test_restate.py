"""What was delivered again: parked while nobody has said so, and restated with both beliefs kept."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession

from in_process import Jobs
from test_invented_source import Invented
from varve.model.errors import ParkedError, UsageError
from varve.model.scope import Scope
from varve.ops import tables
from varve.silver import EntityLoad, plan_of
from varve.silver.inputs import pseudonym_key
from varve.silver.life import Provenance, life_of
from varve.silver.restate import restate, windows_to_restate
from written_conf import write, write_contract


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
    assert [(d["verdict"], d["reason"]) for d in decisions(jobs)] == [("accept", "the fourth was a test")]
    known = jobs.rows(f"{table}_changes", "count(*)", where="record = 'change' and sequence is null")
    assert known[0][0] >= 8, "what was believed before stays in the log"

    jobs.run("restate", *words)
    source.load(jobs)
    assert sorted(jobs.rows(table, f"{source.keys[1]}, {day}, is_deleted")) == sorted(after)


def test_what_the_history_has_is_said_again(tmp_path: Path, spark: SparkSession) -> None:
    """In the order of time; what waits or was discarded is named. Who names a day decides for what waits."""
    source = Invented(tmp_path, 6, scopes=2)
    jobs = Jobs.at(tmp_path / "lake", spark, "first", conf=source.conf)
    for rows in (3, 2):  # the second time without the third key, on both days
        for day in (1, 2):
            source.deliver(source.scopes, day, rows)
            jobs.run("extract")
        jobs.run("bronze")
        if rows == 3:
            jobs.run("silver")
    load = load_of(jobs, source.entity)
    first, second = [], []
    for one in jobs.lake.raw(source.source, source.dataset).catalog().in_order():
        (first if load.loaded().has(one.table, one.number) else second).append(one)
    discarded = second[0]
    jobs.lake.ledger.decisions.decide(
        load.table, discarded.scope, discarded.id, verdict="discard", reason="half an extract"
    )

    def told(day: date | None, *scopes: Scope) -> tuple[list[str], list[str]]:
        windows, left_out = windows_to_restate(load, day, frozenset(scopes))
        return [window.manifest.id for window in windows], [str(left) for left in left_out]

    waits = "it is not in the history yet; ./spark-submit.sh silver"
    windows, left_out = told(None)
    assert windows == [m.id for m in first]
    one, other = (f"{waits} --table {source.entity} --scope {second[place].scope} --plan" for place in (0, 1))
    assert sorted(left.removesuffix(" shows what it waits for") for left in left_out) == sorted([
        f"{discarded.scope} of 2026-03-01 is not said again: it was discarded: half an extract",
        f"{discarded.scope} of 2026-03-02 is not said again: {one}",
        f"{second[1].scope} of 2026-03-01 to 2026-03-02 is not said again: {other}",
    ])  # fmt: skip
    of_scope = [m for m in first if m.scope == discarded.scope]
    assert told(None, discarded.scope)[0] == [m.id for m in of_scope]
    assert told(date(2026, 3, 1), discarded.scope)[0] == [of_scope[0].id], "not what was discarded"
    assert set(told(date(2026, 3, 2))[0]) == {m.id for m in second if m.as_of.day == 2}
    with pytest.raises(UsageError, match=r"no extract of that.*2026-03-05.*one of the days.*restate --table \w+ --day"):
        told(date(2026, 3, 5))

    jobs.run("restate", "--table", source.entity, "--scope", str(discarded.scope), "--reason", "rules corrected")
    skipped = [row.reason for row in jobs.lake.ledger.rows if row.step == "restate"]
    assert [str(reason).endswith("rules corrected") for reason in skipped] == [True] * 4
    of_scope_now = f"is_current and scope_entity = '{discarded.scope.entity}'"
    assert len(jobs.rows(f"silver.{source.entity}", "1", where=of_scope_now)) == 3


def test_what_the_guard_refuses_a_person_lets_in_for_a_day(tmp_path: Path, spark: SparkSession) -> None:
    source = Invented(tmp_path, 10, scopes=1)
    tighten(source, max_deleted_share=0.5)
    jobs = Jobs.at(tmp_path / "lake", spark, "first", conf=source.conf)
    source.deliver(source.scopes, 1, rows=4)
    source.load(jobs)
    source.deliver(source.scopes, 1, rows=1)
    for job in ("extract", "bronze"):
        jobs.run(job)
    words = ("--table", source.entity, "--reason", "all were sold")
    with pytest.raises(ParkedError, match="it would delete 3 of 4 rows") as refused:
        jobs.run("restate", *words, "--day", "2026-03-01")
    command = f"restate --table {source.entity} --day 2026-03-01 --scope ES/e00 --accept"
    assert f"./spark-submit.sh {command} --reason" in str(refused.value.remedy)
    with pytest.raises(UsageError, match="day by day"):
        jobs.run("restate", *words, "--accept")
    assert decisions(jobs) == []
    jobs.run(*command.split(), "--reason", "all were sold")
    assert [(d["verdict"], d["scope"], d["reason"]) for d in decisions(jobs)] == [("accept", "ES/e00", "all were sold")]
    assert len(jobs.rows(f"silver.{source.entity}", "1", where="is_current")) == 1


def decisions(jobs: Jobs) -> list[dict[str, Any]]:
    return tables.rows(jobs.lake.root, tables.DECISIONS, columns=tables.COLUMNS[tables.DECISIONS])


def tighten(source: Invented, **guard: object) -> None:
    file = source.conf / "contracts" / f"{source.entity}.odcs.yaml"
    contract = yaml.safe_load(file.read_text("utf-8"))
    contract["schema"][0]["customProperties"][0]["value"]["guard"] |= guard
    file.write_text(yaml.safe_dump(contract), "utf-8")


def test_what_lies_behind_the_horizon_is_left_out(tmp_path: Path, spark: SparkSession) -> None:
    source = Invented(tmp_path, 11, scopes=1)
    jobs = Jobs.at(tmp_path / "lake", spark, "first", conf=source.conf)
    for day in (1, 2, 3):
        source.deliver(source.scopes, day, rows=1)
    source.load(jobs)
    load = load_of(jobs, source.entity)
    load.history.expire(datetime(2026, 3, 3, tzinfo=UTC))
    (window,), (left,) = windows_to_restate(load, None, frozenset())
    assert (window.manifest.as_of.day, len(left.manifests)) == (3, 2)
    assert "ES/e00 of 2026-03-01 to 2026-03-02 is not said again: it is from before 2026-03-03" in str(left)
    with pytest.raises(UsageError, match=r"it is from before 2026-03-03.*restate --table \w+ --day 2026-03-03"):
        windows_to_restate(load, date(2026, 3, 1), frozenset())


def load_of(jobs: Jobs, entity: str) -> EntityLoad:
    return EntityLoad(jobs.lake, jobs.lake.config.silver_contract(entity), lists={}, key=pseudonym_key(jobs.lake))


# --- changes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Register:
    """A feed of changes for two scopes. What the towns are called is in one of two columns; the contract says which."""

    folder: Path

    @property
    def conf(self) -> Path:
        return self.folder / "conf"

    def deliver(self, day: int, *rows: str) -> None:
        """rows: id, first, second, gone, at, seq, owner."""
        file = self.folder / "in" / f"2026-03-{day:02d}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(("id,first,second,gone,at,seq,owner", *rows)) + "\n", "utf-8")

    def says(self, column: str, *, deleted_when: str = "gone = 'x'") -> None:
        """Configure it: the name is in this column."""
        scope = {"country": "ES", "entity": {"column": "owner", "map": {"0": "e00", "1": "e01"}}}
        dataset = {"contract": "register_town", "path": "**/*.csv", "format": "csv", "mode": "changes",
                   "declared_date": r"(\d{4}-\d{2}-\d{2})\.csv$"}  # fmt: skip
        write(self.conf, "sources/register.yml", {"source": "register", "kind": "files", "root": "in", "scope": scope,
                                             "datasets": {"town": dataset}})  # fmt: skip
        names = {"first": "string", "second": "string", "gone": "string", "at": "date", "seq": "bigint",
                 "owner": "string"}  # fmt: skip
        rules = {"valid_from": "at", "sequence": "seq", "deleted_when": deleted_when}
        self._contract("register_town", {"layer": "bronze", "history": rules}, names)
        feed = {"bronze": "register_town", "columns": {"name": column}}
        rule = {"type": "custom", "engine": "varve", "name": "known", "implementation": "name <> '?'"}
        self._contract("town", {"layer": "silver", "history": {}, "feeds": [feed]}, {"name": "string"}, quality=[rule])

    def _contract(self, name: str, facts: dict[str, object], columns: dict[str, str], **more: object) -> None:
        key = {"name": "id", "physicalType": "string", "primaryKey": True, "primaryKeyPosition": 1, "required": True}
        properties = [key, *({"name": column, "physicalType": kind} for column, kind in columns.items())]
        write_contract(self.conf, name, facts, properties, **more)


@pytest.fixture
def register(tmp_path: Path) -> Register:
    return Register(tmp_path)


def loaded(register: Register, spark: SparkSession) -> Jobs:
    jobs = Jobs.at(register.folder / "lake", spark, "first", conf=register.conf)
    for job in ("extract", "bronze", "silver"):
        jobs.run(job)
    return jobs


def said_again(register: Register, spark: SparkSession) -> list[bool]:
    """Say all of it again by the configuration as it is now, and whether each window was new to the log."""
    load = load_of(Jobs.at(register.folder / "lake", spark, "one run", conf=register.conf), "town")
    windows, left_out = windows_to_restate(load, None, frozenset())
    assert not left_out
    return [restate(load, window, reason="corrected").version is not None for window in windows]


def towns(register: Register, spark: SparkSession) -> dict[str, list[str]]:
    """By scope and key the states, oldest first; `-` is a tombstone. Read as if nothing was ever folded."""
    history = load_of(Jobs.at(register.folder / "lake", spark, "read", conf=register.conf), "town").history
    found: dict[str, list[str]] = {}
    for row in history.read().orderBy("scope_entity", "id", "valid_from").collect():
        found.setdefault(f"{row.scope_entity}.{row.id}", []).append("-" if row.is_deleted else str(row["name"]))
    return found


def test_changes_are_said_again_there_and_back(register: Register, spark: SparkSession) -> None:
    """By another column, by that again, and back: what stands is what the extract says, and no more is said."""
    register.says("first")
    register.deliver(
        1,
        "changed,A,B,,2026-03-01,1,0",
        "changed,A,C,,2026-03-01,1,1",
        "changed,X,Y,,2026-03-02,2,0",
        "deleted,D,E,,2026-03-01,1,0",
        "deleted,F,G,x,2026-03-02,2,0",
        "null,,Madrid,,2026-03-01,1,0",
        "nulled,Rome,,,2026-03-01,1,0",
        "rejected,R,?,,2026-03-01,1,0",
        "same,S,S,,2026-03-01,1,0",
    )
    loaded(register, spark)
    first = {
        "e00.changed": ["A", "X"], "e00.deleted": ["D", "-"], "e00.null": ["None"], "e00.nulled": ["Rome"],
        "e00.rejected": ["R"], "e00.same": ["S"], "e01.changed": ["A"],
    }  # fmt: skip
    second = {
        "e00.changed": ["B", "Y"], "e00.deleted": ["E", "-"], "e00.null": ["Madrid"], "e00.nulled": ["None"],
        "e00.rejected": ["R"], "e00.same": ["S"], "e01.changed": ["C"],
    }  # fmt: skip
    for column, expected in (("second", second), ("first", first)):
        register.says(column)
        assert said_again(register, spark) == [True, True]
        assert towns(register, spark) == expected
        assert said_again(register, spark) == [False, False], "the second time there is nothing to say"
    rejects = tables.rows(register.folder / "lake", tables.REJECTS, columns=("rule", "position", "scope_entity"))
    assert [(r["rule"], r["scope_entity"]) for r in rejects] == [("known", "e00")], "told once, by who said it again"


def test_a_delete_is_withdrawn_there_and_back(register: Register, spark: SparkSession) -> None:
    register.says("first")
    register.deliver(1, "k,A,B,,2026-03-01,1,0", "k,A,B,x,2026-03-02,2,0")
    loaded(register, spark)
    for deleted_when, expected in (("gone = 'y'", ["A"]), ("gone = 'x'", ["A", "-"])):
        register.says("first", deleted_when=deleted_when)
        assert said_again(register, spark) == [True, False]
        assert towns(register, spark) == {"e00.k": expected}
        assert said_again(register, spark) == [False, False]


NEW = ",,2026-03-01,1,0"  # second, gone, at, seq, owner


@pytest.mark.parametrize(
    ("rows", "says", "left"),
    [
        pytest.param([f"k,,{NEW}", f"k,Madrid,{NEW}"], "name=null", ["Madrid"], id="null beside a value"),
        pytest.param([f"k,,{NEW}", f"k,Madrid,{NEW}"], "name=Madrid", ["None"], id="a value beside null"),
        pytest.param([f"k,Madrid,{NEW}", "k,Rome,,x,2026-03-01,2,0"], "name=null", ["Madrid"], id="a delete"),
        pytest.param([f"k,Madrid,{NEW}", "k,,,x,2026-03-01,1,0"], "op=delete", ["Madrid"], id="a delete beside it"),
        pytest.param([f"k,Madrid,{NEW}", "k,,,x,2026-03-01,1,0"], "op=upsert", [], id="a value beside a delete"),
    ],
)  # fmt: skip
def test_one_statement_is_taken_back_and_no_other(
    register: Register, spark: SparkSession, rows: list[str], says: str, left: list[str]
) -> None:
    register.says("first")
    register.deliver(1, *rows)
    jobs = Jobs.at(register.folder / "lake", spark, "first", conf=register.conf)
    for job in ("extract", "bronze"):
        jobs.run(job)
    with suppress(ParkedError):  # two that contradict each other
        jobs.run("silver")
    words = ("--table", "town", "--key", "k", "--at", "2026-03-01", "--reason", "sent by mistake")
    jobs.run("restate", *words, "--says", says)
    assert towns(register, spark) == ({"e00.k": left} if left else {})
    with pytest.raises(UsageError, match=r"0 statements are meant.*history --table town --key id=k --changes"):
        jobs.run("restate", *words, "--says", "name=Paris")


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

    def told(key: str) -> list[tuple[str, bool, Provenance]]:
        life = life_of(jobs.lake, contract, {source.keys[0]: "k", source.keys[1]: key})
        assert len(life.changes) == len(life.change_origins)
        days = [f"{row.valid_from:%d}" for row in life.versions]
        return list(zip(days, [row.is_deleted for row in life.versions], life.version_origins, strict=True))

    file = "e00/2026-03-{}.csv".format
    assert told("n0") == [
        ("01", False, Provenance(file("01"), "first")),
        ("02", False, Provenance(file("02"), "second")),  # what was said again said the same of it
        ("03", False, Provenance(file("03"), "third")),
    ]
    assert told("n1") == [("01", False, Provenance(file("01"), "first")), ("02", True, Provenance(file("02"), "again"))]


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
