"""Status: what stands in a lake is told from the index, the ledger and the leases, and nothing is written."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from rich.console import Console

from example_conf import SHOP, assert_one_error, case, edited
from in_process import Jobs, job_module
from small_lake import SCOPE, SmallLake
from stranger import Stranger
from varve import status
from varve.config import load
from varve.model.errors import ConfigError, ParkedError, SourceError, UsageError
from varve.model.expected import Expected
from varve.ops.ledger import Ledger
from varve.run.cli import launch
from varve.status.facts import Done, Status
from varve.storage.commits import Commit

# --- when a dataset is expected -------------------------------------------------------------------------------


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("every_day", "now", "last"),
    [
        pytest.param("06:00", "2026-03-02 06:00", "2026-03-02 06:00", id="it has passed when it is reached"),
        pytest.param("06:00", "2026-03-02 05:59", "2026-03-01 06:00", id="not yet: the day before"),
        pytest.param("06:00 Europe/Madrid", "2026-01-15 05:00", "2026-01-15 05:00", id="winter: one hour ahead of UTC"),
        pytest.param("06:00 Europe/Madrid", "2026-07-15 04:00", "2026-07-15 04:00", id="summer: two hours ahead"),
        pytest.param("02:30 Europe/Madrid", "2026-03-29 12:00", "2026-03-29 01:30", id="clocks left the hour out"),
        pytest.param("02:30 Europe/Madrid", "2026-10-25 12:00", "2026-10-25 00:30", id="clocks showed it twice"),
        pytest.param("23:00 America/New_York", "2026-06-02 03:00", "2026-06-02 03:00", id="yesterday there"),
        pytest.param("01:00 Asia/Tokyo", "2026-06-01 20:00", "2026-06-01 16:00", id="tomorrow there"),
        pytest.param("23:00 Pacific/Apia", "2011-12-31 00:00", "2011-12-30 09:00", id="a day that the zone left out"),
    ],
)  # fmt: skip
def test_the_last_expected_time(every_day: str, now: str, last: str) -> None:
    assert Expected.parse(every_day).last(utc(now)) == utc(last)


@pytest.mark.parametrize(
    ("landed", "now", "late"),
    [
        pytest.param("2026-03-02 06:10", "2026-03-02 12:00", False, id="landed after its time"),
        pytest.param("2026-03-02 05:40", "2026-03-02 12:00", False, id="landed shortly before its time"),
        pytest.param("2026-03-01 06:10", "2026-03-02 05:59", False, id="the next is not due yet"),
        pytest.param("2026-03-01 06:10", "2026-03-02 06:00", True, id="due, and only yesterday's is there"),
        pytest.param("2026-03-01 17:59", "2026-03-02 06:00", True, id="yesterday's came late: today's is missing"),
        pytest.param("2026-03-01 18:00", "2026-03-02 06:00", False, id="twelve hours ahead are today's"),
        pytest.param("2026-02-20 06:10", "2026-03-02 05:00", True, id="missing for days"),
        pytest.param(None, "2026-03-02 12:00", True, id="nothing ever landed"),
    ],
)
def test_is_late(landed: str | None, now: str, late: bool) -> None:
    assert Expected.parse("06:00").is_late(None if landed is None else utc(landed), utc(now)) is late


@pytest.mark.parametrize(
    ("file", "line", "old", "new", "message"),
    [
        case("no time of the day", SHOP, 10, "format: csv", 'format: csv\n    expected: "6 am"',
             "expected has a wrong value; found '6 am'; expected a time of the day, such as 06:00 (UTC) or 06:00 "
             "Europe/Madrid"),
        case("an hour that no day has", SHOP, 10, "format: csv", 'format: csv\n    expected: "24:00"',
             "expected has a wrong value; found '24:00'; expected a time of the day … "),
        case("no zone of the world", SHOP, 10, "format: csv", 'format: csv\n    expected: "06:00 Europe/Madird"',
             "this is no zone of the IANA database; found Europe/Madird; expected Europe/Madrid"),
        case("what YAML takes for a number", SHOP, 10, "format: csv", "format: csv\n    expected: 16:00",
             '16:00 without quotes is another number to YAML; expected "16:00" in quotes'),
    ],
)  # fmt: skip
def test_a_wrong_expectation_is_told_by_file_and_line(
    file: str, line: int, old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_error(edited(tmp_path, file, old, new), file, line, message)


def test_every_kind_of_source_may_say_when_it_is_expected(tmp_path: Path) -> None:
    edited(tmp_path, SHOP, "format: csv", 'format: csv\n    expected: "06:00 Europe/Madrid"')
    conf = edited(tmp_path, "sources/core.yml", "keys: [LineId]", 'keys: [LineId]\n    expected: "06:00"')
    assert [str(one.expected) for one in load(conf).datasets()] == ["06:00 UTC", "06:00 Europe/Madrid"]


# --- what stands ----------------------------------------------------------------------------------------------


def looked(lake: SmallLake, *, after: timedelta = timedelta(), table: str | None = None) -> Status:
    return status.look(lake.lake(), now=datetime.now(UTC) + after, table=table)


def told(found: Status) -> list[str]:
    """What is wrong or waits, a line for each, and what to do next."""
    step = status.next_step(found)
    return [
        *(f"late {one.table}" for one in found.late),
        *(f"{'stopped' if one.stopped else 'waits'} {one.table} {one.scope} {one.extracts}" for one in found.waiting),
        *(f"parked {one.table} {one.scope} {one.extract}" for one in found.parked),
        *(f"{one.how} {', '.join(one.tables)}" for one in found.failures),
        f"next {step.do if step else 'nothing'}",
    ]


def guarded(book: Ledger, extract: str, *, table: str = "silver.ticket", scope: str = SCOPE) -> None:
    """A run that meets a snapshot which the guard refuses."""
    with book.within("silver"), book.task("silver", table, scope, keep_going=True) as task:
        task.input(extract)
        task.guard({"manifest": extract, "refusal": "it has 0 rows"})
        task.parked(ParkedError("the snapshot is parked: it has 0 rows", remedy="--accept or --discard"))


def failing(lake: SmallLake, run: str, step: str, table: str, scope: str | None = None) -> None:
    with lake.run(run) as book, book.within(step), book.task(step, table, scope, keep_going=True):
        raise SourceError("no answer")


def passing(lake: SmallLake, run: str, step: str, table: str, scope: str | None = None, job: str = "daily") -> None:
    with lake.run(run, job) as book, book.within(step), book.task(step, table, scope) as task:
        task.skip()


def empty(lake: SmallLake) -> None:
    """A lake that is not there."""


def all_loaded(lake: SmallLake) -> None:
    one, two = lake.land(1), lake.land(2)
    lake.bronze(one, two)
    lake.silver(one, two)


def in_raw(lake: SmallLake) -> None:
    lake.bronze(lake.land(1))
    lake.land(2)
    lake.land(2, entity="iberia2")
    lake.silver(lake.lake().raw("shop", "ticket").manifest(1))


def in_bronze(lake: SmallLake) -> None:
    lake.bronze(lake.land(1), lake.land(2))


def in_raw_of_two(lake: SmallLake) -> None:
    lake.land(1)
    lake.land(1, dataset="visit")


def parked_in_raw(lake: SmallLake) -> None:
    lake.land(1, parked="it is half a gzip")
    lake.land(2)
    lake.land(2, entity="iberia2")


def delivered_again(lake: SmallLake) -> None:
    lake.land(1, parked="it is half a gzip")
    lake.land(1)


def discarded(lake: SmallLake) -> None:
    one = lake.land(1, dataset="visit", parked="it is half a gzip")
    with lake.run("r1") as book:
        book.decisions.decide("bronze.shop_visit", one.scope, one.id, verdict="discard", reason="nobody needs it")


def without_its_key(lake: SmallLake) -> None:
    lake.land(1, dataset="visit", columns=["city"])


def gone(lake: SmallLake) -> None:
    lake.land(1, dataset="visit")
    lake.bronze(lake.land(2, dataset="visit"))
    (lake.place / "raw/shop/visit/manifests/000000000001.json").unlink()


def gone_for_silver(lake: SmallLake) -> None:
    lake.bronze(lake.land(1))
    (lake.place / "raw/shop/ticket/manifests/000000000001.json").unlink()


def refused(lake: SmallLake) -> None:
    lake.bronze(lake.land(1), lake.land(2), lake.land(2, entity="iberia2"))
    with lake.run("r1") as book:
        guarded(book, "ticket1")


def accepted(lake: SmallLake) -> None:
    refused(lake)
    with lake.run("r2") as book:
        book.decisions.decide("silver.ticket", SCOPE, "ticket1", verdict="accept", reason="it is right")


def contradicted(lake: SmallLake) -> None:
    with lake.run("r1") as book, book.within("silver"), book.task("fold", "silver.ticket", keep_going=True) as task:
        task.parked(ParkedError("2 statements contradict others", remedy="Take one back."))
    with lake.run("r2") as book, book.within("silver"), book.task("fold", "silver.ticket"):
        pass  # other keys


def taken_back(lake: SmallLake) -> None:
    contradicted(lake)
    with lake.run("r3", "restate") as book, book.task("retract", "silver.ticket", SCOPE):
        pass


def made_anew(lake: SmallLake) -> None:
    contradicted(lake)
    with lake.run("r3") as book, book.within("silver"), book.task("fold", "silver.ticket") as task:
        task.note("rebuilt: the contract has changed")


def failed(lake: SmallLake) -> None:
    lake.land(1, dataset="visit")
    failing(lake, "r1", "bronze", "bronze.shop_visit", SCOPE)


def failed_and_nothing_waits(lake: SmallLake) -> None:
    failing(lake, "r1", "bronze", "bronze.shop_visit", SCOPE)
    lake.bronze(lake.land(1, dataset="visit"))


def failed_to_read_a_source(lake: SmallLake) -> None:
    lake.bronze(lake.land(1, dataset="visit"))
    failing(lake, "r1", "extract", "raw.shop_visit")


def read_it_later(lake: SmallLake) -> None:
    failed_to_read_a_source(lake)
    passing(lake, "r2", "extract", "raw.shop_visit", SCOPE, job="extract")


def failed_in_one_scope(lake: SmallLake) -> None:
    lake.bronze(lake.land(1, dataset="visit"))
    failing(lake, "r1", "extract", "raw.shop_visit", SCOPE)
    passing(lake, "r2", "extract", "raw.shop_visit", "ES/iberia2")


def failed_in_its_second_try(lake: SmallLake) -> None:
    lake.bronze(lake.land(1, dataset="visit"))
    with lake.run("r1") as book, book.within("extract"):
        raise SourceError("no answer")
    with lake.run("r2") as book, book.within("extract", attempt=1), book.task("extract", "raw.shop_visit"):
        raise SourceError("no answer")
    with lake.run("r3") as book, book.within("extract", attempt=2), book.task("extract", "raw.shop_visit"):
        pass


def failed_without_a_table(lake: SmallLake) -> None:
    lake.bronze(lake.land(1, dataset="visit"))
    with lake.run("r1", "silver") as book, book.within("silver"):
        raise ConfigError("no contract describes silver.x")


def a_correction_failed(lake: SmallLake) -> None:
    lake.bronze(lake.land(1, dataset="visit"))
    with lake.run("r1", "restate") as book, book.task("restate", "silver.ticket", SCOPE):
        raise SourceError("no answer")


def not_again(lake: SmallLake) -> None:
    failed_without_a_table(lake)
    passing(lake, "r2", "silver", "silver.ticket")


def of_a_table_that_is_no_more(lake: SmallLake) -> None:
    lake.bronze(lake.land(1, dataset="visit"))
    failing(lake, "r1", "extract", "raw.shop_sale")


def cut_off(lake: SmallLake) -> None:
    lake.land(1, dataset="visit")
    lake.killed("r1", "with book.within('bronze'), book.task('bronze', 'bronze.shop_visit', 'ES/iberia1') as task:")


def cut_off_and_told_by_the_next(lake: SmallLake) -> None:
    cut_off(lake)
    with lake.run("r2") as book:
        book.recover()


def cut_off_and_done_again(lake: SmallLake) -> None:
    cut_off_and_told_by_the_next(lake)
    lake.bronze(lake.lake().raw("shop", "visit").manifest(1))
    passing(lake, "r3", "bronze", "bronze.shop_visit")


def unreadable(lake: SmallLake) -> None:
    in_bronze(lake)
    lake.bronze(lake.land(1, dataset="visit"))
    (lake.place / "bronze/shop_visit/_delta_log/00000000000000000001.json").write_text("{")


def told_by_rows_alone(lake: SmallLake) -> None:
    lake.bronze(lake.land(1, dataset="visit"))
    place = lake.place / "bronze/shop_visit"
    DeltaTable(str(place)).create_checkpoint()
    for commit in place.glob("_delta_log/*.json"):
        commit.unlink()


DISCARD = './spark-submit.sh bronze --discard {} --reason "…"'
AGAIN = "next Have it delivered again under the same name and run again, or go on without it: " + DISCARD
BRONZE, SILVER = "./spark-submit.sh bronze", "./spark-submit.sh silver"


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        pytest.param(empty, ["next ./spark-submit.sh daily"], id="nothing ever landed"),
        pytest.param(all_loaded, ["next nothing"], id="everything is loaded"),
        pytest.param(
            in_raw,
            ["waits bronze.shop_ticket ES/iberia1 1", "waits bronze.shop_ticket ES/iberia2 1",
             f"next {BRONZE} --table shop_ticket"],
            id="published and not loaded",
        ),
        pytest.param(
            in_bronze,
            ["waits silver.ticket ES/iberia1 2", f"next {SILVER} --table ticket"],
            id="in bronze, not in silver",
        ),
        pytest.param(
            in_raw_of_two,
            ["waits bronze.shop_ticket ES/iberia1 1", "waits bronze.shop_visit ES/iberia1 1", f"next {BRONZE}"],
            id="two tables wait: the job without a table",
        ),
        pytest.param(
            parked_in_raw,
            ["waits bronze.shop_ticket ES/iberia2 1", "stopped bronze.shop_ticket ES/iberia1 1",
             "parked bronze.shop_ticket ES/iberia1 ticket1", AGAIN.format("ticket1")],
            id="parked: its scope stands behind it, another does not",
        ),
        pytest.param(
            delivered_again,
            ["waits bronze.shop_ticket ES/iberia1 1", f"next {BRONZE} --table shop_ticket"],
            id="parked and delivered again",
        ),
        pytest.param(discarded, ["next nothing"], id="parked and discarded"),
        pytest.param(
            without_its_key,
            ["parked bronze.shop_visit ES/iberia1 visit1",
             "next Correct the contract, have it delivered again under the same name, or go on without it: "
             + DISCARD.format("visit1")],
            id="a required column is missing, and no run met it yet",
        ),
        pytest.param(
            gone,
            ["parked bronze.shop_visit None None",
             "next Restore it from a backup, or go on without it: " + DISCARD.format("shop_visit#1")],
            id="raw has lost a manifest",
        ),
        pytest.param(
            gone_for_silver,
            ["parked silver.ticket None None",
             "next Restore it from a backup, or go on without it: " + DISCARD.format("shop_ticket#1")],
            id="raw has lost a manifest that only bronze holds",
        ),
        pytest.param(
            refused,
            ["stopped silver.ticket ES/iberia1 1", "waits silver.ticket ES/iberia2 1",
             "parked silver.ticket ES/iberia1 ticket1", "next --accept or --discard"],
            id="the guard refused a snapshot",
        ),
        pytest.param(
            accepted,
            ["waits silver.ticket ES/iberia1 2", "waits silver.ticket ES/iberia2 1", f"next {SILVER} --table ticket"],
            id="accepted and not loaded yet",
        ),
        pytest.param(
            contradicted, ["parked silver.ticket None None", "next Take one back."],
            id="a contradiction stands although later folds say nothing",
        ),
        pytest.param(taken_back, ["next ./spark-submit.sh daily"], id="a contradiction that was taken back"),
        pytest.param(made_anew, ["next ./spark-submit.sh daily"], id="versions rebuilt tell contradictions again"),
        pytest.param(
            failed,
            ["waits bronze.shop_visit ES/iberia1 1", "failed bronze.shop_visit ES/iberia1",
             "next ./spark-submit.sh daily"],
            id="failed, and it waits",
        ),
        pytest.param(failed_and_nothing_waits, ["next nothing"], id="failed, and nothing waits: it was loaded"),
        pytest.param(
            failed_to_read_a_source,
            ["failed raw.shop_visit", "next ./spark-submit.sh daily"],
            id="a source could not be read",
        ),
        pytest.param(read_it_later, ["next nothing"], id="another job has read it since"),
        pytest.param(
            failed_in_one_scope,
            ["failed raw.shop_visit ES/iberia1", "next ./spark-submit.sh daily"],
            id="another scope does not make it good",
        ),
        pytest.param(failed_in_its_second_try, ["next nothing"], id="tried again"),
        pytest.param(failed_without_a_table, ["failed silver", f"next {SILVER}"], id="failed outside of any table"),
        pytest.param(
            a_correction_failed,
            ["failed silver.ticket ES/iberia1", "next ./spark-submit.sh restate …, with the options that it had"],
            id="a job that needs its options",
        ),
        pytest.param(not_again, ["next nothing"], id="the task went well since"),
        pytest.param(of_a_table_that_is_no_more, ["next nothing"], id="of a table that is configured no more"),
        pytest.param(
            cut_off,
            ["waits bronze.shop_visit ES/iberia1 1", "killed bronze.shop_visit ES/iberia1",
             "next ./spark-submit.sh daily"],
            id="killed, and no run came after",
        ),
        pytest.param(
            cut_off_and_told_by_the_next,
            ["waits bronze.shop_visit ES/iberia1 1", "killed bronze.shop_visit ES/iberia1",
             "next ./spark-submit.sh daily"],
            id="killed, and taken into the ledger",
        ),
        pytest.param(cut_off_and_done_again, ["next nothing"], id="killed, and done by a later run"),
        pytest.param(
            unreadable,
            ["waits silver.ticket ES/iberia1 2", "unreadable bronze.shop_visit", "next …"],
            id="a table that cannot be read: the others are told",
        ),
        pytest.param(
            told_by_rows_alone,
            ["unreadable bronze.shop_visit", "next The next run that loads it reads them, and rebuilds the index."],
            id="neither index nor notes tell: no session is opened to read the rows",
        ),
    ],
)  # fmt: skip
def test_what_stands(made: Callable[[SmallLake], None], expected: list[str], tmp_path: Path) -> None:
    lake = SmallLake.at(tmp_path)
    made(lake)
    before = lake.files()
    found = told(looked(lake))
    assert [*found[:-1], expected[-1] if expected[-1] == "next …" else found[-1]] == expected
    assert lake.files() == before, "a look writes nothing"
    assert lake.place.exists() == bool(before), "not even a folder"


def test_who_is_at_work(tmp_path: Path) -> None:
    lake = SmallLake.at(tmp_path)
    lake.land(1)
    with ExitStack() as at_work:
        other = lake.lake()
        at_work.callback(other.ledger.close)
        at_work.enter_context(other.lease("bronze.shop_ticket"))
        at_work.enter_context(other.ledger.within("bronze"))
        at_work.enter_context(other.ledger.task("bronze", "bronze.shop_ticket", SCOPE))
        found = looked(lake)
        assert [(one.name, one.job, one.run_id) for one in found.held] == [
            ("bronze.shop_ticket", "status", other.run_id), ("run", "status", other.run_id),
        ]  # fmt: skip
        assert [(run.id, run.end) for run in found.runs] == [(other.run_id, "running")]
        assert told(found) == [
            "waits bronze.shop_ticket ES/iberia1 1", f"next Wait for run {other.run_id} (status), which is at work.",
        ]  # fmt: skip
        of_another = looked(lake, table="shop_visit")
        assert of_another.held == ()
    assert looked(lake).held == (), "released"


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        pytest.param([], "./spark-submit.sh extract --source shop --dataset ticket", id="extract has not looked since"),
        pytest.param(["r1"], "Ask who delivers shop: extract looked at ", id="it looked, and nothing was there"),
    ],
)
def test_late(looks: list[str], expected: str, tmp_path: Path) -> None:
    lake = SmallLake.at(tmp_path, expected=f"{datetime.now(UTC) - timedelta(minutes=2):%H:%M}")
    one = lake.land(1)
    lake.bronze(one)
    lake.silver(one)
    assert told(looked(lake)) == ["next nothing"], "landed just now"
    at = lake.place / "raw/shop/ticket/manifests/000000000001.json"
    landed = json.loads(at.read_bytes()) | {"landed_at": (datetime.now(UTC) - timedelta(days=1)).isoformat()}
    at.write_text(json.dumps(landed))
    for run in looks:
        passing(lake, run, "extract", "raw.shop_ticket")
    found = looked(lake)
    assert told(found)[:-1] == ["late shop_ticket"]
    assert told(found)[-1].startswith(f"next {expected}")


def test_since_when_it_is_parked_is_told_by_the_run_that_met_it_first(tmp_path: Path) -> None:
    lake = SmallLake.at(tmp_path)
    lake.bronze(lake.land(1))
    begun = []
    for run in ("r1", "r2", "r3"):
        with lake.run(run) as book:
            guarded(book, "ticket1")
        begun.append(book.rows[0].started_at)
    [parked] = looked(lake).parked
    assert (parked.since, parked.why, parked.remedy) == (
        begun[0], "the snapshot is parked: it has 0 rows", "--accept or --discard",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("run", "end"),
    [
        pytest.param(lambda lake: passing(lake, "r", "bronze", "bronze.shop_ticket"), "nothing new", id="nothing new"),
        pytest.param(lambda lake: failing(lake, "r", "bronze", "bronze.shop_ticket"), "failed", id="failed"),
        pytest.param(refused, "parked", id="parked"),
        pytest.param(cut_off, "killed", id="killed"),
        pytest.param(cut_off_and_told_by_the_next, "killed", id="killed, and taken into the ledger"),
        pytest.param(taken_back, "done", id="done"),
    ],
)
def test_how_the_last_run_ended(run: Callable[[SmallLake], None], end: str, tmp_path: Path) -> None:
    lake = SmallLake.at(tmp_path)
    run(lake)
    assert looked(lake).runs[0].end == end


def test_a_task_that_was_tried_again_and_went_well(tmp_path: Path) -> None:
    lake = SmallLake.at(tmp_path)
    with lake.run("r"), lake.run("r1") as book:
        for attempt in (1, 2):
            with (
                suppress(SourceError),
                book.within("extract", attempt=attempt),
                book.task("extract", "raw.shop_ticket"),
            ):
                if attempt == 1:
                    raise SourceError("no answer")
    assert [run.end for run in looked(lake).runs] == ["done"]


def test_the_last_runs_are_told_and_no_more(tmp_path: Path) -> None:
    lake = SmallLake.at(tmp_path)
    for number in range(8):
        passing(lake, f"r{number}", "bronze", "bronze.shop_ticket")
    assert [run.id for run in looked(lake).runs] == ["r7", "r6", "r5", "r4", "r3"]


# --- one table ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "datasets", "waits"),
    [
        pytest.param("ticket", ["shop_ticket"], ["silver.ticket"], id="an entity, with what feeds it"),
        pytest.param("silver.ticket", ["shop_ticket"], ["silver.ticket"], id="with its layer"),
        pytest.param("shop_ticket", ["shop_ticket"], [], id="a dataset"),
        pytest.param("bronze.shop_visit", ["shop_visit"], ["bronze.shop_visit"], id="a bronze table"),
        pytest.param("raw.shop_visit", ["shop_visit"], ["bronze.shop_visit"], id="as the ledger names it"),
    ],
)
def test_one_table(table: str, datasets: list[str], waits: list[str], tmp_path: Path) -> None:
    lake = SmallLake.at(tmp_path)
    in_bronze(lake)
    lake.land(1, dataset="visit")
    found = looked(lake, table=table)
    assert [one.table for one in found.datasets] == datasets
    assert [one.table for one in found.waiting] == waits


@pytest.mark.parametrize(
    ("table", "remedy"),
    [
        pytest.param("tickets", "Did you mean ticket?", id="nearly"),
        pytest.param("gold.ticket", "Did you mean ticket?", id="in another layer"),
        pytest.param("zzz", None, id="nothing like it"),
    ],
)
def test_a_table_that_is_not_there(table: str, remedy: str | None, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        looked(SmallLake.at(tmp_path), table=table)
    assert (caught.value.where, caught.value.remedy) == ("--table", remedy)


# --- one run --------------------------------------------------------------------------------------------------


def did(found: Done) -> tuple[Any, ...]:
    names = [(one.file, one.declared) for one in found.extracts]
    return found.end, found.table, found.scope, names, (found.version_before, found.version_after)


def test_what_a_run_loaded(tmp_path: Path) -> None:
    lake = SmallLake.at(tmp_path)
    one, two = lake.land(1), lake.land(2)
    run = lake.run("nightly-1")
    with run as book, book.within("bronze"), book.task("bronze", "bronze.shop_ticket", SCOPE) as task:
        task.input(one.id, two.id, "nobody knows it")
        task.read(3)
        task.wrote(Commit(lake.bronze(one, two, run="nightly-1"), 2), rejected=1)
    with pytest.raises(UsageError, match=r"no run nightly-3\. Did you mean nightly-1"):
        status.one_run(lake.lake(), "nightly-3")
    found = status.one_run(lake.lake(), "nightly-1")
    assert (found.run.id, found.run.job, found.run.end) == ("nightly-1", "daily", "done")
    files = [("ticket_iberia1_2026-03-01.csv", "2026-03-01"), ("ticket_iberia1_2026-03-02.csv", "2026-03-02")]
    assert [did(done) for done in found.done] == [
        ("done", "bronze.shop_ticket", SCOPE, [*files, (None, None)], (0, 1)),
    ]  # fmt: skip
    assert [(done.rows_in, done.rows_out, done.rows_rejected) for done in found.done] == [(3, 2, 1)]
    assert status.one_run(lake.lake(), "nightly-1", table="shop_visit").done == ()


def test_what_a_killed_run_has_committed_is_told_by_its_commits(tmp_path: Path) -> None:
    """Killed between the commit and the row of the ledger."""
    lake = SmallLake.at(tmp_path)
    one = lake.land(1)
    lake.killed("r1", "with book.within('bronze'):")
    lake.bronze(one, run="r1")
    expected = [
        ("killed", None, None, [], (None, None)),
        ("committed", "bronze.shop_ticket", None, [("ticket_iberia1_2026-03-01.csv", "2026-03-01")], (0, 1)),
    ]
    assert [did(done) for done in status.one_run(lake.lake(), "r1").done] == expected
    with lake.run("r2") as book:
        book.recover()
    assert [did(done) for done in status.one_run(lake.lake(), "r1").done] == expected, "also from the ledger"


# --- the command ----------------------------------------------------------------------------------------------


def command(lake: SmallLake, *words: str) -> int:
    module = job_module("status")
    place = ["--conf", str(lake.root / "conf"), "--lake", str(lake.place)]
    return launch(module.run, module.parser, [*words, *place], writes=False)


@pytest.mark.parametrize(
    ("made", "strict"),
    [
        pytest.param(empty, 0, id="nothing there"),
        pytest.param(all_loaded, 0, id="all is well"),
        pytest.param(in_raw, 0, id="what waits for its job"),
        pytest.param(parked_in_raw, 3, id="parked"),
        pytest.param(failed, 4, id="failed"),
        pytest.param(cut_off, 4, id="killed"),
        pytest.param(unreadable, 4, id="cannot be read"),
    ],
)
def test_exit_codes(
    made: Callable[[SmallLake], None], strict: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = SmallLake.at(tmp_path)
    made(lake)
    assert command(lake) == 0, "a look does not fail"
    assert command(lake, "--strict") == strict
    assert bool(capsys.readouterr().err) == bool(strict)
    command(lake, "--strict", "--quiet")
    said = capsys.readouterr()
    assert (said.out, bool(said.err)) == ("", bool(strict)), "for a monitor: only what is wrong"


def test_late_is_4_also_when_something_is_parked(tmp_path: Path) -> None:
    lake = SmallLake.at(tmp_path, expected=f"{datetime.now(UTC) - timedelta(minutes=2):%H:%M}")
    lake.land(1, dataset="visit", parked="it is half a gzip")
    assert command(lake, "--strict") == 4


@pytest.mark.parametrize("words", [["--run", "r9"], ["--table", "nothing"]], ids=["run", "table"])
def test_what_nobody_knows_is_a_mistake_of_the_command(words: list[str], tmp_path: Path) -> None:
    assert command(SmallLake.at(tmp_path), *words) == 2


def test_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lake = SmallLake.at(tmp_path)
    parked_in_raw(lake)
    cut_off(lake)
    assert command(lake, "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == [
        "lake", "dataset", "dataset", "waiting", "waiting", "waiting", "parked", "failure", "run", "next",
    ]  # fmt: skip
    assert command(lake, "--json", "--run", "r1") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["event"], line.get("end")) for line in lines] == [
        ("run", "killed"), ("table", "killed"), ("table", "killed"),
    ]  # fmt: skip


@pytest.mark.parametrize("made", [empty, all_loaded, in_raw, parked_in_raw, refused, contradicted, cut_off, unreadable])
def test_a_page_fits_the_screen(made: Callable[[SmallLake], None], tmp_path: Path) -> None:
    """But for what to do next, which is never broken, and the path of the lake."""
    lake = SmallLake.at(tmp_path)
    made(lake)
    found = looked(lake)
    for width in (80, 160):
        out = io.StringIO()
        Console(file=out, width=width, highlight=False).print(status.page(found, status.next_step(found)), crop=False)
        lines = out.getvalue().splitlines()
        assert [line for line in lines[1:] if len(line.rstrip()) > width and "next: " not in line] == []


def test_the_real_jobs(tmp_path: Path, spark: SparkSession) -> None:
    """A day of a stranger's folder, and a second one whose snapshot the guard refuses."""
    house = Stranger(tmp_path)
    contract = house.conf / "contracts" / "ticket.odcs.yaml"
    contract.write_text(contract.read_text().replace("max_deleted_share: 1.0", "max_deleted_share: 0.1"))
    for day, rows in {"2026-03-01": [(1, "madrid", 1050), (2, "vigo", 200)], "2026-03-02": [(1, "madrid", 1)]}.items():
        house.deliver(day, *rows)
        jobs = Jobs.at(house.lake, spark, f"r{day}", conf=house.conf)
        with suppress(ParkedError):
            for name in ("extract", "bronze", "silver"):
                jobs.run(name)
        jobs.lake.ledger.close()
    found = status.look(jobs.lake, now=datetime.now(UTC))
    assert told(found)[:-1] == [f"parked silver.ticket ES/iberia1 {found.parked[0].extract}"]
    assert [(run.id, run.end) for run in found.runs] == [("r2026-03-02", "parked"), ("r2026-03-01", "done")]
    assert "./spark-submit.sh silver --table ticket --scope ES/iberia1" in told(found)[-1]
    done = {one.step: did(one) for one in status.one_run(jobs.lake, "r2026-03-01").done}
    file = [("tickets_2026-03-01.csv", "2026-03-01")]
    assert done == {
        "extract": ("done", "raw.shop_ticket", "ES/iberia1", file, (None, None)),
        "bronze": ("done", "bronze.shop_ticket", "ES/iberia1", file, (None, 0)),
        "silver": ("done", "silver.ticket", "ES/iberia1", file, (None, 0)),
        "fold": ("done", "silver.ticket", None, [], (None, 0)),
    }
    last = Jobs.at(house.lake, spark, "r3", conf=house.conf)
    last.run("silver", "--accept", "the shop in Vigo is closed")
    last.lake.ledger.close()
    assert told(status.look(last.lake, now=datetime.now(UTC))) == ["next nothing"]
