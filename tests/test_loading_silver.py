"""Bronze to the log of an entity: changes come in together, a snapshot by itself, and one culprit waits alone."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from in_process import Jobs
from test_loading import contents, held, overtaken
from till import BEGAN, TABLE, Till
from varve.config.settings import BatchLimits
from varve.model.contract import Feed
from varve.model.errors import OvertakenError, ParkedError, TransformError
from varve.model.scope import Scope
from varve.ops import tables
from varve.raw import Manifest, Origin, RawFile
from varve.run.run import Run
from varve.silver import EntityLoad
from varve.silver.run import in_commits
from varve.silver.window import Window

LOG: Final = "sale_changes"


def window(number: int, kind: str, *entities: str, size: int = 10) -> Window:
    """kind: c for changes, s for a snapshot, i for one that is not proved complete."""
    at = BEGAN + timedelta(days=number)
    mixed = len(entities) > 1
    manifest = Manifest(
        id=f"x{number}", number=number, source="till", dataset="sale", contract=TABLE, scope_country="ES",
        scope_entity="_mixed" if mixed else entities[0], mode="changes" if kind == "c" else "snapshot",
        complete=kind == "s", as_of=at, started_at=at, landed_at=at, origin=Origin(path="x"),
        scopes={f"ES/{entity}": 1 for entity in entities},
        files=(RawFile(name="part", role="records", bytes=size, sha256=""),),
    )  # fmt: skip
    return Window(Feed(TABLE), manifest, tuple(Scope("ES", entity) for entity in sorted(entities)))


@pytest.mark.parametrize(
    ("windows", "limits", "commits"),
    [
        pytest.param("c:a c:a c:b", {}, [[1, 2, 3]], id="changes come together"),
        pytest.param("s:a s:b", {}, [[1], [2]], id="a snapshot comes by itself"),
        pytest.param("c:a s:a", {}, [[1], [2]], id="a snapshot waits for the earlier changes of its scope"),
        pytest.param("s:a c:a", {}, [[1], [2]], id="later changes of its scope wait for the snapshot"),
        pytest.param("c:b s:a c:b", {}, [[1, 3], [2]], id="changes of another scope go ahead"),
        pytest.param("c:a s:a,b c:b c:d", {}, [[1, 4], [2], [3]], id="a snapshot of two scopes"),
        pytest.param("c:a s:a c:a,b", {}, [[1], [2], [3]], id="changes of two scopes, one of which waits"),
        pytest.param("s:a c:a s:a c:a c:b", {}, [[1], [2, 5], [3], [4]], id="snapshots and changes by turns"),
        pytest.param("c:a i:a c:a", {}, [[1, 2, 3]], id="a picture that is not proved complete asserts no absence"),
        pytest.param("c:a c:a c:a", {"manifests": 2}, [[1, 2], [3]], id="cut by number"),
        pytest.param("c:a c:a c:a", {"size": "1k"}, [[1, 2], [3]], id="cut by size"),
    ],
)
def test_commits(windows: str, limits: Mapping[str, Any], commits: list[list[int]]) -> None:
    made = [
        window(number, kind, *entities.split(","), size=500)
        for number, (kind, entities) in enumerate((word.split(":") for word in windows.split()), start=1)
    ]
    found = in_commits(made, BatchLimits(**limits))
    assert [[one.manifest.number for one in commit] for commit in found] == commits


@pytest.mark.parametrize("seed", range(20))
def test_a_snapshot_stands_between_what_is_earlier_and_later_of_its_scopes(seed: int) -> None:
    chance = random.Random(seed)
    windows = [window(n, chance.choice("ccs"), *chance.sample("abcd", chance.randint(1, 3))) for n in range(1, 40)]
    commits = in_commits(windows, BatchLimits(manifests=4))
    place = {one.manifest.number: index for index, commit in enumerate(commits) for one in commit}
    assert sorted(place) == list(range(1, 40))
    for earlier in windows:
        for later in windows[earlier.manifest.number :]:
            if (earlier.asserts_absence or later.asserts_absence) and {*earlier.scopes} & {*later.scopes}:
                assert place[earlier.manifest.number] < place[later.manifest.number]


def numbers(lake: Run) -> list[list[int]]:
    return [[load.number for load in commit] for commit in held(lake, "silver", LOG)]


def test_changes_of_an_entity_come_in_one_commit_and_snapshots_one_by_one(tmp_path: Path, spark: SparkSession) -> None:
    till = Till(tmp_path)
    snapshot: dict[str, object] = {"mode": "snapshot", "complete": True}
    till.publish(1, records=[("1", "Madrid", "1"), ("2", "Madrid", "2")])
    till.publish(2, records=[("1", "Madrid", "5"), ("4", "Madrid", "5")], **snapshot)
    till.publish(3, entity="e1", records=[("1", "Vigo", "3")])
    till.publish(4, records=[("3", "Madrid", "4")])
    jobs = Jobs.at(till.lake, spark, "r1", conf=till.conf)
    jobs.run("bronze")
    assert len(held(jobs.lake)) == 1
    jobs.run("silver")
    assert numbers(jobs.lake) == [[1, 3], [2], [4]]
    rows = jobs.rows("silver.sale", "scope_entity, sale_id, cents", "is_current")
    assert sorted(rows) == [("e0", 1, 5), ("e0", 3, 4), ("e0", 4, 5), ("e1", 1, 3)], "2 was deleted by the snapshot"


@pytest.mark.parametrize("by_city", [False, True], ids=["an extract", "a scope of an extract"])
def test_one_bad_window_is_found(tmp_path: Path, spark: SparkSession, by_city: bool) -> None:
    """A rule that fails on a row: only the scope of that row waits, in the extracts behind it too."""
    till = Till(tmp_path, rule="100 / (cents - 13) < 1000", by_city=by_city)
    for number in range(1, 8):
        cents = {"madrid": "1", "vigo": "2", "lugo": "13" if number == 4 else "3"}
        if by_city:
            till.publish(number, records=[(str(number), city.title(), text) for city, text in cents.items()])
        else:
            city = ("madrid", "vigo", "lugo", "lugo")[number % 4 if number != 4 else 3]
            till.publish(number, entity=city, records=[(str(number), city.title(), cents[city])])
    jobs = Jobs.at(till.lake, spark, "r1", conf=till.conf)
    jobs.run("bronze")
    with pytest.raises(TransformError):
        jobs.run("silver")
    loaded = sorted(jobs.rows("silver.sale", "scope_entity, sale_id", "is_current"))
    in_bronze = sorted(jobs.rows(f"bronze.{TABLE}", "scope_entity, sale_id"))
    assert loaded == [(entity, n) for entity, n in in_bronze if entity != "lugo" or n < 4]
    ended = {row.scope: row.status for row in jobs.lake.ledger.rows if row.step == "silver"}
    assert ended["ES/lugo"] == "failed"
    assert {status for scope, status in ended.items() if scope != "ES/lugo"} == {"done"}
    failed = [row for row in jobs.lake.ledger.rows if row.status == "failed"]
    assert "x000004" in {manifest for row in failed for manifest in row.manifests}

    mended = Till(tmp_path, by_city=by_city)
    again = Jobs.at(mended.lake, spark, "r2", conf=mended.conf)
    again.run("silver")
    assert sorted(again.rows("silver.sale", "scope_entity, sale_id", "is_current")) == in_bronze
    assert entity_of(again.lake).windows() == []


def entity_of(lake: Run) -> EntityLoad:
    return EntityLoad(lake, lake.config.silver_contract("sale"), lists={}, key=None)  # type: ignore[arg-type]


# --- of two at once, one is refused ----------------------------------------------------------------------------------


@pytest.fixture
def in_bronze(tmp_path: Path, spark: SparkSession) -> Till:
    """Two extracts with a bad row each, the first of them in silver and folded."""
    till = Till(tmp_path / "till")
    for number in (1, 2):
        till.publish(number, records=[("1", "Madrid", f"{number}00"), (f"{number + 8}", "Vigo", "-1")])
        jobs = Jobs.at(till.lake, spark, f"before{number}", conf=till.conf)
        jobs.run("bronze")
        if number == 1:
            jobs.run("silver")
    return till


@pytest.mark.parametrize("place", ["append", "_is_reached"], ids=["before the check", "after the check"])
def test_of_two_loads_of_an_entity_one_is_refused(
    in_bronze: Till, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    one, other = (Jobs.at(in_bronze.lake, spark, name, conf=in_bronze.conf).lake for name in ("one", "other"))
    slow, fast = entity_of(one), entity_of(other)
    windows = slow.windows(), fast.windows()
    assert slow.batch().number == fast.batch().number
    with overtaken(monkeypatch, place, lambda: fast.load_changes(windows[1]) and None), pytest.raises(OvertakenError):
        slow.load_changes(windows[0])
    assert numbers(one) == [[1], [2]]
    rejects = tables.rows(one.root, tables.REJECTS, columns=["run_id", "manifest"], where="table_name = 'silver.sale'")
    assert sorted((row["run_id"], row["manifest"]) for row in rejects) == [
        ("before1", "x000001"), ("other", "x000002"),
    ]  # fmt: skip
    assert slow.history.records().count() == 2


def fold_of(load: EntityLoad) -> Callable[[], None]:
    def fold() -> None:
        load.history.fold()

    return fold


@pytest.mark.parametrize("place", ["replace", "_still"], ids=["before the check", "after the check"])
@pytest.mark.parametrize("is_first", [True, False], ids=["of a new table", "of a table that is there"])
def test_of_two_folds_one_is_refused(
    in_bronze: Till, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, place: str, is_first: bool
) -> None:
    jobs = Jobs.at(in_bronze.lake, spark, "log", conf=in_bronze.conf)
    jobs.run("silver", "--no-fold")
    if is_first:
        shutil.rmtree(in_bronze.lake / "silver" / "sale")
    slow, fast = entity_of(jobs.lake), entity_of(jobs.lake)
    with overtaken(monkeypatch, place, fold_of(fast)), pytest.raises(OvertakenError):
        slow.history.fold()
    assert sorted(jobs.rows("silver.sale", "sale_id, cents, is_current")) == [(1, 100, False), (1, 200, True)]
    assert slow.history.is_folded()
    assert slow.history.audit().isEmpty()


def test_what_was_made_of_another_version_is_refused(in_bronze: Till, spark: SparkSession) -> None:
    """replace, exchange and advance of a table that has gone on."""
    lake = Jobs.at(in_bronze.lake, spark, "r", conf=in_bronze.conf).lake
    store, before = lake.store, lake.store.version("silver", "sale")
    assert before is not None
    rows = store.read("silver", "sale")
    store.advance("silver", "sale", txn="fold", version=7)
    of_e0 = "scope_entity = 'e0'"
    same = F.expr("old.version_key = new.version_key")
    stale: dict[str, Any] = {"based_on": before}
    reached: dict[str, Any] = {"txn": "fold", "version": 7}
    exchange: dict[str, Any] = {"on": same, "columns": rows.columns, "when_insert": "false", "when_delete": None}
    acts: dict[str, Callable[[], object]] = {
        "replace": lambda: store.replace(rows, "silver", "sale", where=of_e0, **stale),
        "replace at what was reached": lambda: store.replace(rows, "silver", "sale", where=of_e0, **reached),
        "exchange": lambda: store.exchange(rows, "silver", "sale", **exchange, **stale),
        "advance, back": lambda: store.advance("silver", "sale", txn="fold", version=6),
        "advance, fenced": lambda: store.advance("silver", "sale", is_fenced=True, **reached),
        "append": lambda: store.append(rows, "silver", "sale", is_fenced=True, **reached),
    }
    for name, act in acts.items():
        with pytest.raises(OvertakenError, match="another run"):
            pytest.fail(f"{name} was not refused: {act()}")
    assert store.version("silver", "sale") == before + 1


# --- what a person says of a snapshot --------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["--accept", "--discard"])
def test_a_parked_snapshot_holds_back_its_scope_until_it_is_decided(
    tmp_path: Path, spark: SparkSession, word: str
) -> None:
    till = Till(tmp_path, mode="snapshot")
    till.publish(1, records=[(str(n), "Madrid", "1") for n in range(40)])
    till.publish(2, records=[("1", "Madrid", "1")])
    till.publish(3, entity="e1", records=[("1", "Vigo", "1")])
    jobs = Jobs.at(till.lake, spark, "r1", conf=till.conf)
    jobs.run("bronze")
    with pytest.raises(ParkedError):
        jobs.run("silver")
    assert numbers(jobs.lake) == [[1], [3]]
    before = contents(till.lake)
    with pytest.raises(ParkedError):
        Jobs.at(till.lake, spark, "r2", conf=till.conf).run("silver")
    assert contents(till.lake) == before
    decided = Jobs.at(till.lake, spark, "r3", conf=till.conf)
    decided.run("silver", word, "so it is")
    assert numbers(decided.lake) == ([[1], [3], [2]] if word == "--accept" else [[1], [3]])
    live = decided.rows("silver.sale", "sale_id", "is_current and scope_entity = 'e0'")
    assert len(live) == (1 if word == "--accept" else 40)
    again = Jobs.at(till.lake, spark, "r4", conf=till.conf)
    again.run("silver")
    assert [row.status for row in again.lake.ledger.rows] == ["skipped"]
