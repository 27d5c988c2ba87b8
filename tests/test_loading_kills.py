"""A load that is killed anywhere and gone on with in any way ends as if nothing had happened: nothing twice or lost.

Most kills are pictures: the lake as it lies on the disk at that moment, copied while the run stands still; its leases
are those of a dead process. That the pictures are true is shown by processes that are killed there with SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from pyspark.sql import SparkSession

from conftest import PYTHONPATH
from loading_crash import POINTS, Opened, arm, run, words_of
from test_loading import contents, copied
from till import Till
from varve.run import cli
from varve.run.run import Run

LONGEST: Final = 300  # [s] for one process on a busy machine
PICTURES: Final = [name for name, point in POINTS.items() if point.when != "staged"]
PARKED: Final = 3

BY_HAND: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "rerun": (("bronze",), ("silver",)),
    "discard": (("bronze", "--discard", "x000006", "--reason", "not ours"), ("silver",)),
    "accept": (("bronze",), ("silver", "--accept", "they closed")),
    "changed contract": (("contract",), ("bronze",), ("silver",)),
}


def act(till: Till, *words: str) -> None:
    """A job, whose extract x000006 or snapshot x000005 is parked unless a person has decided; or other contracts."""
    if words == ("contract",):
        Till(till.root, rule="cents >= -10").contracts(evolve="add")
        return
    code = run(till.root, *words)
    assert code in (0, PARKED), f"{words} ended with {code}"


@pytest.fixture(scope="module")
def opened(shared_spark: SparkSession) -> Any:
    """Runs of jobs open the session of the tests in the thread that has it, and leave it open."""

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cli, "Run", Opened)
        yield


@pytest.fixture(scope="module")
def waiting(opened: None, tmp_path_factory: pytest.TempPathFactory) -> Till:
    """One extract in bronze and silver; behind it changes with bad rows and a new column, two snapshots, the second of
    which is parked, and an extract without its key."""
    till = Till(tmp_path_factory.mktemp("waiting"))
    picture: dict[str, object] = {"mode": "snapshot", "complete": True}
    ten: list[tuple[str, ...]] = [(str(n), "Vigo", "1") for n in range(1, 11)]
    till.publish(1, entity="e3", records=[("1", "Lugo", "100"), ("z", "Lugo", "5"), ("2", "Lugo", "-5")])
    act(till, "bronze")
    act(till, "silver")
    till.publish(2, records=[("1", "Madrid", "100"), ("x", "Madrid", "5"), ("2", "Madrid", "-5")])
    till.publish(3, records=[("3", "Lugo", "7", "n")], columns=("sale_id", "city", "cents", "new"))
    till.publish(4, entity="e1", records=[*ten, ("y", "Vigo", "1")], **picture)
    till.publish(5, entity="e1", records=[("1", "Vigo", "2")], **picture)
    till.publish(6, entity="e2", records=[("Vigo", "1")], columns=("city", "cents"))
    return till


@pytest.fixture(scope="module")
def pictures(waiting: Till, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Till]:
    """The lake at every point of one run of bronze and one of silver, and at their `end`."""
    till, folder = copied(waiting, tmp_path_factory.mktemp("run")), tmp_path_factory.mktemp("pictures")
    taken: dict[str, Till] = {}

    def take(name: str) -> None:
        taken[name] = copied(till, folder / name)
        for lease in taken[name].lake.glob("leases/*.json"):
            said = json.loads(lease.read_text())
            lease.write_text(json.dumps({**said, "holder": {**said["holder"], "started": "0"}}))

    with pytest.MonkeyPatch.context() as patched:
        for name in PICTURES:
            arm(POINTS[name], lambda name=name: take(name), patch=patched.setattr)  # type: ignore[misc]
        act(till, "bronze")
        act(till, "silver")
    assert [*taken] == PICTURES
    take("end")
    return taken


@pytest.fixture(scope="module")
def undisturbed(
    waiting: Till, pictures: Mapping[str, Till], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[tuple[str, str], Any]:
    """What a lake holds that nothing was killed in, by what is done and where: made when it is asked for."""

    class Made(dict[tuple[str, str], dict[str, list[str]]]):
        def __missing__(self, case: tuple[str, str]) -> dict[str, list[str]]:
            point, by_hand = case
            till = copied(waiting, tmp_path_factory.mktemp("undisturbed"))
            for words in (*before(point, by_hand), *BY_HAND[by_hand]):
                act(till, *words)
            self[case] = contents(till.lake)
            return self[case]

    found = contents(pictures["end"].lake)
    assert {table: len(rows) for table, rows in found.items()} == {
        "bronze/till_sale": 16, "silver/sale": 13, "ops/rejects": 5, "ops/drift": 2,
    }  # fmt: skip
    return Made()


def before(point: str, by_hand: str) -> tuple[tuple[str, ...], ...]:
    """What an undisturbed run has done before somebody steps in who comes after a kill at this point.

    What was committed before a contract changed was made by the old one."""
    is_seen = by_hand == "changed contract" and point.endswith("committed")
    if point.startswith("bronze"):
        return (("bronze",),) if is_seen else ()
    return (("bronze",), ("silver",)) if is_seen else (("bronze",),)


FAST: Final = {
    ("bronze, rejects recorded", "discard"),
    ("silver, rejects recorded", "accept"),
}


@pytest.mark.parametrize(
    ("point", "by_hand"),
    [
        pytest.param(p, h, id=f"{p}, then {h}", marks=[] if (p, h) in FAST else [pytest.mark.slow])
        for p in PICTURES
        for h in BY_HAND
    ],
)
def test_gone_on_with_after_a_kill(
    tmp_path: Path, spark: SparkSession, pictures: Mapping[str, Till],
    undisturbed: Mapping[tuple[str, str], dict[str, list[str]]], point: str, by_hand: str,
) -> None:  # fmt: skip
    """Where rejects or drift were recorded and nothing was committed, this shows that a run takes them back."""
    till = copied(pictures[point], tmp_path)
    for words in BY_HAND[by_hand]:
        act(till, *words)
    found = contents(till.lake)
    assert found == undisturbed[point, by_hand]
    act(till, "bronze")
    assert contents(till.lake) == found


def started(root: Path, mark: Path, job: str, *point: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words_of(root, mark, job, *point), cwd=Path(__file__).parent, env={**os.environ, "PYTHONPATH": PYTHONPATH},
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize(
    "point", [pytest.param(p, marks=[] if p == "bronze, committed" else [pytest.mark.slow]) for p in POINTS]
)
def test_killed_and_run_again(
    tmp_path: Path, spark: SparkSession, pictures: Mapping[str, Till], waiting: Till, point: str
) -> None:
    till = copied(waiting, tmp_path / "till")
    if POINTS[point].job == "silver":
        act(till, "bronze")
    mark = tmp_path / "mark"
    process = started(till.root, mark, POINTS[point].job, point)
    assert process.wait(LONGEST) == -signal.SIGKILL
    assert mark.read_text(encoding="utf-8") == point, "the point was never reached"
    if point in pictures:
        assert contents(till.lake) == contents(pictures[point].lake), "the picture of this kill is true"
    act(till, "bronze")
    act(till, "silver")
    assert contents(till.lake) == contents(pictures["end"].lake)


@pytest.mark.slow
@pytest.mark.parametrize("point", [name for name in PICTURES if "recorded" in name])
def test_two_processes_go_on_after_a_kill(
    tmp_path: Path, spark: SparkSession, pictures: Mapping[str, Till], point: str
) -> None:
    till = copied(pictures[point], tmp_path / "till")
    for job in ("bronze", "silver"):
        mark = tmp_path / f"mark {job}"
        other = started(till.root, mark, job)
        while not mark.exists():
            assert other.poll() is None
        here = run(till.root, job)
        assert {here, other.wait(LONGEST)} <= {0, PARKED, 4}
    act(till, "bronze")
    act(till, "silver")
    assert contents(till.lake) == contents(pictures["end"].lake)


@pytest.mark.slow
def test_the_tests_of_pictures_see_what_was_left(
    tmp_path: Path, spark: SparkSession, pictures: Mapping[str, Till], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without taking back what a killed run recorded, the lake holds it twice."""
    monkeypatch.setattr(Run, "recover", lambda _: None)
    till = copied(pictures["bronze, rejects recorded"], tmp_path)
    act(till, "bronze")
    act(till, "silver")
    found, expected = contents(till.lake), contents(pictures["end"].lake)
    assert found.pop("ops/rejects") != expected.pop("ops/rejects")
    assert found.pop("ops/drift") != expected.pop("ops/drift")
    assert found == expected
