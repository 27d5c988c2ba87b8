"""Pitfalls that a line of text cannot say: scopes, crashes, buckets. The others stand in `cases.PITFALLS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
from pyspark.sql import SparkSession

from varve.history_table import snapshots
from varve.storage.delta import Store

from .cases import statements_in
from .engine import Engine
from .oracle import Snapshot
from .worlds import TIME_LAW, Batch, Picture, World, scope_of

NORTH, SOUTH = scope_of(0), scope_of(1)
A, B = ("A", None, None, None), ("B", None, None, None)
KEYS = (("k", "1"), ("k", "2"))


def picture(
    name: str, at: int, scopes: set[tuple[str, str]], rows: dict[tuple[str, str], tuple[object, ...]]
) -> Picture:
    """rows: of each scope, the state of every key; a key of which nothing is said is absent."""
    said = tuple(
        (scope, key, state) for scope, states in rows.items() for key, state in zip(KEYS, states, strict=False) if state
    )
    return Picture(name, Snapshot(frozenset(scopes), at, said, recorded_at=at))


def world(*manifests: Batch | Picture) -> World:
    return World(TIME_LAW, (NORTH, SOUTH), {m.name: m for m in manifests})


@pytest.mark.parametrize(
    ("second", "live"),
    [
        pytest.param(
            picture("p2", 3, {NORTH}, {NORTH: (A, A)}), {NORTH: 2, SOUTH: 2}, id="not listed: nothing is proved"
        ),
        pytest.param(picture("p2", 3, {NORTH}, {}), {NORTH: 0, SOUTH: 2}, id="the other one is empty"),
        pytest.param(picture("p2", 3, {NORTH, SOUTH}, {NORTH: (A, A)}), {NORTH: 2, SOUTH: 0}, id="listed with no row"),
    ],
)
def test_snapshot_missing_one_tenant(
    shared_spark: SparkSession, lake_dir: Path, second: Picture, live: dict[tuple[str, str], int]
) -> None:
    first = picture("p1", 1, {NORTH, SOUTH}, {NORTH: (A, A), SOUTH: (A, A)})
    late = Batch("late", tuple(statements_in("k.1:B@2", SOUTH)))
    engine = Engine(shared_spark, str(lake_dir), world(first, second, late))
    for name in ("p1", "p2"):
        engine.hear(name)
    rows = engine.table.read().filter("is_current").groupBy("scope_country", "scope_entity").count().collect()
    assert dict.fromkeys(live, 0) | {(r[0], r[1]): r[2] for r in rows} == live
    engine.hear("late")
    engine.check(engine.folded(), "a late change meets the same absence")
    engine.check_log()


def test_unchanged_rows_in_a_bucket_that_differs(shared_spark: SparkSession, lake_dir: Path) -> None:
    """All keys share one bucket: the one that changed is logged, the others keep their version."""
    said = [picture(f"p{n}", n, {NORTH}, {NORTH: (A, state)}) for n, state in ((1, A), (3, B), (5, None))]
    engine = Engine(shared_spark, str(lake_dir), world(*said))
    with patch.object(snapshots, "BUCKETS", 1):
        for place, name in enumerate(engine.world.manifests):
            logged = engine.table.log().count() if place else 0
            engine.hear(name)
            assert engine.table.log().count() - logged == (1 if place else 2)
    engine.check(engine.folded(), "the versions")
    engine.check_log()


def dying(write: Callable[..., object], *, before: bool) -> Callable[..., object]:
    """A write of the store that dies before its commit, or right after it."""

    def dies(*args: object, **named: object) -> object:
        if not before:
            write(*args, **named)
        raise InterruptedError

    return dies


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False], ids=["before the commit", "after the commit"])
@pytest.mark.parametrize("step", ["append", "snapshot", "fold"])
def test_replay_after_partial_crash(shared_spark: SparkSession, lake_dir: Path, step: str, before: bool) -> None:
    """A step dies; everything is done again from the beginning, as a job does that is started anew."""
    manifests = (
        Batch("c1", tuple(statements_in("A@1 a.b:A@1", NORTH))),
        Batch("c2", tuple(statements_in("B@5 a.b:-@3 a.b:-@3", NORTH))),
        picture("p", 7, {NORTH}, {NORTH: (B, A)}),
    )
    engine = Engine(shared_spark, str(lake_dir), world(*manifests))
    engine.hear("c1")
    engine.fold()
    if step != "append":
        engine.hear("c2")
    writes = {name: dying(getattr(Store, name), before=before) for name in ("append", "replace", "exchange")}
    with patch.multiple(Store, **writes), pytest.raises(InterruptedError):
        engine.fold() if step == "fold" else engine.hear("c2" if step == "append" else "p")

    again = Engine(shared_spark, str(lake_dir), engine.world)
    for name in again.world.manifests:
        again.hear(name)
        again.hear(name)
    again.check(again.table.read(), "read after the replay")
    again.check(again.folded(), "the versions after the replay")
    again.check_log()
    log = again.table.log()
    assert (log.count(), log.distinct().count()) == (6, 5), "c2 says a delete twice, the snapshot logs one key"
