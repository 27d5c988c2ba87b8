"""The store's part: every rule load by load with a fold after each, nothing twice, and what each step may touch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import cache
from pathlib import Path
from unittest.mock import patch

import deltalake
import pytest
from pyspark.sql import SparkSession

from varve.history_table import folding
from varve.storage.delta import Store

from .cases import CASES, Case, statements_in, world_of
from .engine import ENTITY, Engine
from .frames import batch_of, changes_frame, held_by, versions_of
from .oracle import Law, Scope
from .worlds import SEQUENCE_LAW, THREE_KEYS_LAW, TIME_LAW, Batch, Step, World, scope_of

STORED = [case for case in CASES if case.law in (TIME_LAW, SEQUENCE_LAW, THREE_KEYS_LAW)]
Outcomes = Callable[[Law], dict[str, list[str]]]


@pytest.fixture(scope="module")
def outcomes(shared_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What went wrong with each case; all cases of a law are loaded side by side, with a read and a fold per load."""

    done: dict[Law, dict[str, list[str]]] = {}

    def of(law: Law) -> dict[str, list[str]]:
        if law in done:
            return done[law]
        world, owner = world_of([case for case in STORED if case.law == law], law)
        engine = Engine(shared_spark, str(tmp_path_factory.mktemp("cases")), world)
        wrong: dict[str, list[str]] = {}
        done[law] = {case.id: ["the cases were not loaded to the end"] for case in STORED}  # not tried again for each
        names = [step.manifest for step in world.steps]
        for name, following in zip(names, [*names[1:], "-"], strict=True):
            engine.hear(name)
            if load_of(name) == load_of(following):
                continue
            for moment, frame in (("read", engine.read), ("fold", engine.folded)):
                expected, got = engine.expected(), versions_of(frame(), law)
                for identity in engine.wrong(expected, got):
                    told = engine.report(
                        moment, identity, expected.get(identity, []), got.get(identity, []), [identity]
                    )
                    wrong.setdefault(owner.get(identity, "?"), []).append(told)
        wrong["audit"] = [str(row) for row in engine.table.audit().collect()]
        done[law] = wrong
        return wrong

    return of


def load_of(manifest: str) -> str:
    return manifest.split("-")[1]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in STORED])
def test_case_in_the_store(outcomes: Outcomes, case: Case) -> None:
    wrong = outcomes(case.law).get(case.id, [])
    assert not wrong, "\n".join([case.said, *wrong])


@pytest.mark.parametrize("law", [
    pytest.param(TIME_LAW, id="time"), pytest.param(SEQUENCE_LAW, id="sequence"),
    pytest.param(THREE_KEYS_LAW, id="three keys"),
])  # fmt: skip
def test_the_audit_finds_nothing_after_the_cases(outcomes: Outcomes, law: Law) -> None:
    assert outcomes(law).get("audit") == []


# --- nothing twice, and what each step may touch -------------------------------------------------------------------

LOADS = ("A@1 a.b:A@1 x.y:A@1", "A@3 a.b:B@3 x.y:-@3", "C@2 a.b:C@5")


@pytest.fixture
def engine(shared_spark: SparkSession, lake_dir: Path) -> Engine:
    return Engine(shared_spark, str(lake_dir), told_in_loads(*LOADS))


def told_in_loads(*loads: str) -> World:
    scope = scope_of(0)
    manifests = {
        f"changes-{n}": Batch(f"changes-{n}", tuple(statements_in(said, scope))) for n, said in enumerate(loads)
    }
    return World(TIME_LAW, (scope,), dict(manifests), tuple(Step("arrive", name) for name in manifests))


def table_versions(engine: Engine) -> tuple[int | None, int | None]:
    return engine.store.version("silver", f"{ENTITY}_changes"), engine.store.version("silver", ENTITY)


def jobs_of(spark: SparkSession, what: Callable[[], object]) -> int:
    """How many Spark jobs it takes."""
    context, group = spark.sparkContext, f"counted-{id(what)}"
    context.setJobGroup(group, "counted")
    try:
        what()
        return len(context.statusTracker().getJobIdsForGroup(group))
    finally:
        context.setLocalProperty("spark.jobGroup.id", "")


def hide(engine: Engine, table: str, *, only: Container[str] | None = None) -> Callable[[], None]:
    """Takes data files of a table away, its log stays: whoever reads them fails. Returns what brings them back.

    only: names of files; None: all."""
    root = Path(engine.store.path("silver", table))
    files = [path for path in root.rglob("*.parquet") if "_delta_log" not in path.parts]
    moved = [(path, path.with_suffix(".hidden")) for path in files if only is None or path.name in only]
    for path, hidden in moved:
        path.rename(hidden)

    def bring_back() -> None:
        for path, hidden in moved:
            hidden.rename(path)

    return bring_back


def test_one_life_of_a_table(shared_spark: SparkSession, engine: Engine) -> None:
    """Append and fold are no-ops the second time; without change no commit and no job; an append reads nothing."""
    assert engine.table.fold().version is None, "there is nothing to fold yet"
    engine.hear("changes-0")
    assert table_versions(engine) == (0, None)
    engine.check(engine.table.read(), "read before the first fold")
    engine.fold()
    first = table_versions(engine)
    assert engine.store.transaction("silver", ENTITY, "fold") == 0, "the watermark is the version of the log"

    engine.hear("changes-0")
    assert jobs_of(shared_spark, engine.table.fold) == 0, "a fold without change runs no job"
    assert table_versions(engine) == first, "neither a second append nor a second fold commits"

    back = [hide(engine, ENTITY), hide(engine, f"{ENTITY}_changes")]
    appended = jobs_of(shared_spark, lambda: engine.hear("changes-1"))
    for bring in back:
        bring()
    assert appended <= 4, "an append writes its rows and the commit"
    assert table_versions(engine)[1] == first[1]
    engine.check(engine.table.read(), "read what is not folded")

    engine.fold()
    assert engine.store.transaction("silver", ENTITY, "fold") == table_versions(engine)[0]

    back = [hide(engine, f"{ENTITY}_changes")]
    engine.check(engine.table.read(), "read of what is folded needs no log")
    back[0]()
    engine.hear("changes-2")
    engine.check(engine.table.read(), "read with a late change")
    closed = {f for f in files(engine) if "is_open=false" in f}
    with engine.great():
        engine.table.fold()
    assert closed, "there are closed rows"
    assert closed <= files(engine), "a MERGE does not rewrite the files of closed rows"
    engine.fold()
    engine.check(engine.table.versions(), "the versions")
    engine.check_log()


def files(engine: Engine) -> set[str]:
    return set(deltalake.DeltaTable(engine.store.path("silver", ENTITY)).file_uris())


LATER = {
    "update": ("A@1 a.b:A@1", "B@3"),
    "no_op_then_update": ("A@1", "A@3", "B@5"),
    "new_key": ("A@1", "x.y:B@3"),
    "delete_and_return": ("A@1", "-@3", "A@5"),
    "delete_of_what_was_never_seen": ("A@1", "x.y:-@3", "x.y:B@5"),
    "two_versions_in_one_load": ("A@1", "B@3 C@4", "D@5"),
    "tie_in_the_load": ("A@1", "B@3 C@3", "D@5"),
    "tie_in_the_load_that_grows": ("A@1", "B@3 C@3 a.b:A@3", "D@3"),
    "same_time_as_the_folded_says_other": ("A@2", "B@2"),
    "same_time_as_the_folded_says_the_same": ("A@2", "A@2 B@3"),
}


@pytest.mark.parametrize("loads", [pytest.param(loads, id=rule) for rule, loads in LATER.items()])
def test_loads_that_come_in_order(shared_spark: SparkSession, lake_dir: Path, loads: tuple[str, ...]) -> None:
    """Each load later than all before it, as most days are: the statistics of the log tell read and fold so."""
    engine = Engine(shared_spark, str(lake_dir), told_in_loads(*loads))
    for name in engine.world.manifests:
        engine.hear(name)
        with engine.great():
            engine.check(engine.table.read(), f"read with {name}")
            engine.table.fold()
        engine.check(engine.table.versions(), f"the versions with {name}")


def test_an_empty_append_is_remembered_and_writes_no_file(shared_spark: SparkSession, engine: Engine) -> None:
    engine.hear("changes-0")
    engine.fold()
    log = f"{ENTITY}_changes"
    before, nothing = engine.store.files("silver", log), changes_frame(shared_spark, [], TIME_LAW)
    jobs = jobs_of(shared_spark, lambda: engine.table.append(nothing, batch_of(engine.table, "nothing"), is_empty=True))
    assert jobs == 0
    assert engine.store.files("silver", log) == before
    assert "nothing" in held_by(engine.table)
    assert engine.store.last_note("silver", log, "changes")["keys"] == ["k1", "k2"]
    committed = table_versions(engine)
    assert jobs_of(shared_spark, engine.table.fold) == 0
    assert table_versions(engine) == committed
    engine.check(engine.table.read(), "read")


@contextmanager
def machine_in(zone: str) -> Iterator[None]:
    """The process as on a machine of that time zone: PySpark collects timestamps as times of day there."""
    try:
        with patch.dict(os.environ, TZ=zone):
            time.tzset()
            yield
    finally:
        time.tzset()


def test_snapshots_are_called_in_any_time_zone(shared_spark: SparkSession, lake_dir: Path) -> None:
    """04:30 UTC is 05:30 in Madrid, and before a snapshot of 05:00 UTC all the same."""
    world, _ = world_of([Case("", "A@1 | S@5{A} | B@4.5", "A[1,4.5) B[4.5,5) A[5,)")], TIME_LAW)
    engine = Engine(shared_spark, str(lake_dir), world)
    with machine_in("Europe/Madrid"):
        for step in world.steps:
            engine.take(step)
    engine.check(engine.table.read(), "read")


def test_another_scope_is_not_rewritten(shared_spark: SparkSession, lake_dir: Path) -> None:
    """A fold leaves the files of scopes alone that nothing touched."""
    both = tuple(statements_in("A@1 a.b:A@1", scope_of(0)) + statements_in("A@1 a.b:A@1", scope_of(1)))
    one = tuple(statements_in("B@3 a.b:B@0", scope_of(1)))
    world = World(
        TIME_LAW,
        (scope_of(0), scope_of(1)),
        {"changes-0": Batch("changes-0", both), "changes-1": Batch("changes-1", one)},
    )
    engine = Engine(shared_spark, str(lake_dir), world)
    engine.hear("changes-0")
    engine.fold()
    before = {f for f in files(engine) if f"scope_entity={scope_of(0)[1]}" in f}
    engine.hear("changes-1")
    engine.fold()
    assert before
    assert before <= files(engine)
    engine.check(engine.table.versions(), "the versions")


def test_a_stale_reader_of_the_versions_sees_the_last_fold_whole(shared_spark: SparkSession, engine: Engine) -> None:
    engine.hear("changes-0")
    engine.fold()
    whole = engine.expected()
    engine.hear("changes-1")
    assert not engine.wrong(whole, versions_of(engine.table.versions(), TIME_LAW))
    assert engine.wrong(whole, versions_of(engine.table.read(), TIME_LAW))


TIES = {
    "in the first load": ("B@0 C@0", "BC"),
    "among later changes": ("A@1 | B@3 C@3 | D@5", " | BC | "),
    "among later changes of a new key": ("A@1 | x.y:B@3 x.y:C@3", " | BC"),
    "with what is folded": ("A@1 | B@3 | C@3", " |  | BC"),
    "a known one with another change of its key": ("A@1 | B@3 C@3 | D@2", " | BC | "),
    "one that grows": ("A@1 | B@3 C@3 | D@3", " | BC | BCD"),
    "one that is resolved in part": ("A@1 | B@3 C@3 D@3 | !B@3", " | BCD | CD"),
}
Told = Callable[[str], dict[str, list[str]]]


@pytest.fixture(scope="module")
def ties_told(shared_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What the fold of each load tells of each rule. The second load is later than all of the first."""

    @cache
    def of(path: str) -> dict[str, list[str]]:
        world, owner = world_of([Case(rule, said, "") for rule, (said, _) in TIES.items()], TIME_LAW)
        engine = Engine(shared_spark, str(tmp_path_factory.mktemp("ties")), world)
        table, told = engine.table, {rule: [] for rule in TIES}
        for name in world.manifests:
            engine.hear(name)
            with nullcontext() if path == "small" else engine.great():
                if "read" in path:
                    table.read().count()
                tied = table.fold().quarantined
            for rule, states in told.items():
                mine = [r["state"] for r in tied if rule == owner[(r.scope_country, r.scope_entity), (r.k1, r.k2)]]
                states.append("".join(sorted(mine)))
        return told

    return of


@pytest.mark.parametrize("path", ["great", "great, read before", "small"])
@pytest.mark.parametrize("rule", list(TIES))
def test_a_fold_tells_of_new_contradictions(ties_told: Told, rule: str, path: str) -> None:
    """Once, on every path, whoever computed first what becomes of the keys."""
    expected = [word.strip() for word in TIES[rule][1].split("|")]
    assert ties_told(path)[rule] == [*expected, "", ""][:3]


@pytest.mark.parametrize(("loads", "dies", "path", "write"), [
    pytest.param(("A@1", "B@3 C@3"), 1, "great", "exchange", id="rows that are exchanged"),
    pytest.param(("A@1", "B@3 C@3"), 1, "small", "replace", id="a scope that is rewritten"),
    pytest.param(("B@3 C@3",), 0, "great", "advance", id="the first load"),
    pytest.param(("B@3 C@3", "x.y:A@9"), 0, "great", "advance", id="the first load, and another comes"),
])  # fmt: skip
def test_a_fold_that_dies_tells_of_contradictions_again(
    shared_spark: SparkSession, lake_dir: Path, loads: tuple[str, ...], dies: int, path: str, write: str
) -> None:
    engine, heard = Engine(shared_spark, str(lake_dir), told_in_loads(*loads)), list[int]()
    table, names = engine.table, list(engine.world.manifests)
    table.on_contradiction = lambda head, _: heard.append(head)
    for name in names[:dies]:
        engine.hear(name)
        table.fold()
    engine.hear(names[dies])
    with engine.great() if path == "great" else nullcontext():
        with patch.object(Store, write, side_effect=OSError("died")), pytest.raises(OSError, match="died"):
            table.fold()
        assert not table.is_folded()
        for name in names[dies + 1 :]:
            engine.hear(name)
        assert len(table.fold().quarantined) == 2
        assert not table.fold().quarantined
    assert heard == [dies] * 2, "under the name of the same state of the log, so that it is kept once"
    engine.check(table.versions(), "the versions")


def test_a_read_of_a_table_that_is_folded_meanwhile(shared_spark: SparkSession, engine: Engine) -> None:
    """A reader has chosen its version of the versions; what it lacks is what that version lacks."""
    for name in ("changes-0", "changes-1"):
        engine.hear(name)
        engine.fold()
    engine.hear("changes-2")
    reader, writer, version, folded = engine.table, engine.table, Store.version, list[int]()

    def folded_meanwhile(store: Store, layer: str, table: str) -> int | None:
        found = version(store, layer, table)
        if table == ENTITY and not folded:
            folded.append(found or 0)
            writer.fold()
        return found

    with patch.object(Store, "version", folded_meanwhile):
        engine.check(reader.read(), "read")
    assert writer.is_folded()
    assert table_versions(engine)[1] == folded[0] + 1, "the reader chose the one before"


def test_the_mark_follows_a_log_that_says_nothing_for_long(shared_spark: SparkSession, engine: Engine) -> None:
    """Or Delta cleans the log up behind it, and what is new cannot be told any more."""
    engine.hear("changes-0")
    engine.fold()
    engine.table.append(changes_frame(shared_spark, [], TIME_LAW), engine.table.batch(), is_empty=True)
    committed = table_versions(engine)
    engine.table.fold()
    assert table_versions(engine) == committed, "not for a day without a change"
    with patch.object(folding, "MOST_BEHIND", timedelta(0)):
        assert jobs_of(shared_spark, engine.table.fold) == 0
    assert engine.store.transaction("silver", ENTITY, "fold") == committed[0]
    assert engine.table.is_folded()
    assert engine.table.last_fold()["tracked"], "what the last fold said of itself is kept"


def test_a_plan_writes_nothing_and_counts(shared_spark: SparkSession, engine: Engine) -> None:
    engine.hear("changes-0")
    engine.fold()
    before = table_versions(engine)
    changes = changes_frame(shared_spark, statements_in("B@3 a.b:A@5 x.y:-@0 n.n:A@2", scope_of(0)), TIME_LAW)
    plan = engine.table.plan(changes)
    assert (plan.opened, plan.closed, plan.removed) == (2, 1, 0)
    assert table_versions(engine) == before
    assert {(row["k1"], row["state"]) for row in plan.samples} >= {("k", "B"), ("n", "A")}


def test_a_plan_knows_of_snapshots_that_speak_again(shared_spark: SparkSession, lake_dir: Path) -> None:
    """A late change below a snapshot that said nothing new: the snapshot's picture comes after it."""
    world, _ = world_of([Case("below", "A@1 | S@5{A} | B@3", "")], TIME_LAW)
    engine = Engine(shared_spark, str(lake_dir), world)
    *before, last = world.manifests
    for name in before:
        engine.hear(name)
    engine.fold()
    late = world.manifests[last]
    assert isinstance(late, Batch)
    plan = engine.table.plan(changes_frame(shared_spark, late.statements, TIME_LAW, manifest=last))
    engine.hear(last)
    became, planned = (
        [(row["state"], row["valid_from"], row["valid_to"]) for row in rows]
        for rows in (engine.table.read().orderBy("valid_from").collect(), plan.samples)
    )
    assert [state for state, *_ in became] == ["A", "B", "A"]
    assert planned == became


def test_versions_lost_are_rebuilt_from_the_log(shared_spark: SparkSession, engine: Engine) -> None:
    for name in ("changes-0", "changes-1", "changes-2"):
        engine.hear(name)
    engine.fold()
    told = engine.table.rebuild("the test asked for it")
    assert told.rebuilt == "the test asked for it"
    engine.check_log()


BREAKAGES = {
    "overlap": "UPDATE {t} SET valid_to = valid_to + INTERVAL 1 HOUR WHERE k1 = 'k' AND NOT is_open",
    "gap": "UPDATE {t} SET valid_to = valid_to - INTERVAL 30 MINUTES WHERE k1 = 'k' AND NOT is_open",
    "zero_width": "UPDATE {t} SET valid_to = valid_from WHERE k1 = 'k' AND NOT is_open",
    "no_open_row": "DELETE FROM {t} WHERE k1 = 'k' AND is_open",
    "two_open_rows": "UPDATE {t} SET valid_to = NULL, is_open = true WHERE k1 = 'k' AND NOT is_open",
    "wrong_flags": "UPDATE {t} SET is_current = false WHERE k1 = 'k' AND is_open",
    "wrong_hash": "UPDATE {t} SET state = 'Z' WHERE k1 = 'k' AND is_open",
    "not_in_log": "UPDATE {t} SET valid_from = valid_from - INTERVAL 30 MINUTES WHERE k1 = 'k' AND is_open",
    "missing": "DELETE FROM {t} WHERE k1 = 'k'",
    "low_position": "UPDATE {t} SET last_position.valid_from = valid_from - INTERVAL 1 HOUR WHERE k1 = 'k' AND is_open",
}


def test_the_audit_finds_every_kind_and_repair_mends_exactly_those_keys(
    shared_spark: SparkSession, lake_dir: Path
) -> None:
    """Broken tables as the scopes of one: each is broken in one way, in one of its two keys."""
    scopes = {kind: scope_of(number) for number, kind in enumerate(BREAKAGES)}
    said = tuple(s for scope in scopes.values() for s in statements_in("A@1 B@3 a.b:A@1 a.b:B@3", scope))
    engine = Engine(
        shared_spark, str(lake_dir), World(TIME_LAW, tuple(scopes.values()), {"changes-0": Batch("changes-0", said)})
    )
    engine.hear("changes-0")
    engine.fold()
    assert engine.table.audit().isEmpty()
    table = f"delta.`{engine.store.path('silver', ENTITY)}`"
    for kind, statement in BREAKAGES.items():
        country, entity = scopes[kind]
        shared_spark.sql(f"{statement.format(t=table)} AND scope_country = '{country}' AND scope_entity = '{entity}'")
    found: dict[Scope, set[str]] = {}
    for row in engine.table.audit().collect():
        assert (row["k1"], row["k2"]) == ("k", "1"), row
        found.setdefault((row["scope_country"], row["scope_entity"]), set()).add(row["kind"])
    assert all(kind in found.get(scope, set()) for kind, scope in scopes.items()), found
    assert found[scopes["low_position"]] == {"low_position"}, "the row itself is what the log gives"
    assert engine.table.repair().inserted == 2 * len(BREAKAGES), "the two versions of the broken keys, no other"
    engine.check(engine.table.versions(), "the versions after the repair")
    assert engine.table.audit().isEmpty()
    assert engine.table.repair().version is None, "nothing is left to repair"


@pytest.mark.parametrize("claim", ["valid_from = valid_from", "is_whole = true"])
def test_a_low_position_would_hide_a_late_change(shared_spark: SparkSession, lake_dir: Path, claim: str) -> None:
    """The fold trusts last_position: below a no-op that it does not tell of, a late change counts as on time, or as put
    between the versions."""
    engine = Engine(shared_spark, str(lake_dir), told_in_loads("A@5 A@10", "B@7"))
    engine.hear("changes-0")
    engine.fold()
    table = f"delta.`{engine.store.path('silver', ENTITY)}`"
    shared_spark.sql(f"UPDATE {table} SET last_position.{claim} WHERE is_open")
    assert [row["kind"] for row in engine.table.audit().collect()] == ["low_position"]
    engine.table.repair()
    engine.hear("changes-1")
    with engine.great():
        engine.table.fold()
    engine.check(engine.table.versions(), "the versions")
