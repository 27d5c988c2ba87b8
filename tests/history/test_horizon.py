"""The horizon: what was given up is gone, and every time from it on keeps its state, whatever else arrives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest
from pyspark.sql import SparkSession

from varve import history
from varve.history_table import horizon
from varve.model.errors import ContractError
from varve.model.scope import Scope
from varve.query import ask
from varve.storage.delta import Store

from . import oracle
from .cases import Case, shown, statements_in, world_of
from .engine import ENTITY, Engine
from .frames import changes_frame, moment, policy_of, versions_of
from .oracle import Identity, Law, Observation, Statement, Version
from .strategies import scheduled
from .worlds import SEQUENCE_LAW, TIE_BREAK_LAW, TIME_LAW, TIMES, Batch, Picture, Step, World, scope_of

AT = 10  # the horizon of the cases
LAWS = [pytest.param(TIME_LAW, id="time"), pytest.param(SEQUENCE_LAW, id="sequence", marks=pytest.mark.slow)]


class Expiring(Engine):
    """A table that forgets: what arrives from before its horizon is nothing that was said."""

    def __init__(self, spark: SparkSession, root: str, world: World, *, late_column: str | None = None) -> None:
        super().__init__(spark, root, world, late_column=late_column)
        self.at: int | None = None
        self.said: list[Observation] = []
        self.refused = 0

    def expire(self, at: int) -> None:
        self.at = max(at, self.at or at)
        with self.path():
            self.table.expire(moment_of(at))

    def hear(self, name: str) -> None:
        manifest, again = self.world.manifests[name], name in self.heard
        if isinstance(manifest, Picture) and not again and any(self._is_hidden(s) for s in stands_for(manifest)):
            with pytest.raises(ContractError, match="before the horizon"):
                super().hear(name)
            self.refused += 1
            return
        told = list(manifest.statements) if isinstance(manifest, Batch) else [manifest.snapshot]
        if not again:
            heard = [o for o in told if not (isinstance(o, Statement) and self._is_hidden(o))]
            self.said += heard
            self.refused += len(told) - len(heard)
        super().hear(name)

    def _is_hidden(self, said: Statement) -> bool:
        if self.at is None:
            return False
        found = horizon.of(self.table)
        assert found is not None
        number = found.sequences.get(Scope(*said.scope)) if self.world.law.domain == "sequence" else None
        return said.valid_from < self.at or (number is not None and (said.sequence is None or said.sequence <= number))

    def expected(self) -> dict[Identity, list[Version]]:
        return kept(oracle.versions(self.said, self.world.law), self.at)


def kept(versions: dict[Identity, list[Version]], at: int | None) -> dict[Identity, list[Version]]:
    """The versions of which the horizon leaves something to tell."""
    if at is None:
        return versions
    left = {
        identity: [
            v for v in rows if (v.valid_to is None or v.valid_to >= at) and not (v.is_deleted and v.valid_from < at)
        ]
        for identity, rows in versions.items()
    }
    return {identity: rows for identity, rows in left.items() if rows}


def stands_for(picture: Picture) -> list[Statement]:
    """A statement per scope at the position of the picture."""
    said = picture.snapshot
    return [Statement(scope, (), "upsert", said.as_of, said.sequence, ()) for scope in said.scopes]


def moment_of(at: int) -> datetime:
    found = moment(at)
    assert found is not None
    return found


# --- case by case --------------------------------------------------------------------------------------------------


def _sequence(id: str, said: str, expected: str) -> Case:
    return Case(id, said, expected, SEQUENCE_LAW)


def _tie_break(id: str, said: str, expected: str) -> Case:
    return Case(id, said, expected, TIE_BREAK_LAW)


# CommitNote before the horizon is set at 10 | said after.
CASES: tuple[Case, ...] = (
    # what stays and what goes
    Case("an open live row keeps its begin", "A@1 |", "A[1,)"),
    Case("closed versions go, the open one stays", "A@1 B@3 C@5 |", "C[5,)"),
    Case("the version that reaches over the horizon stays whole", "A@1 B@5 C@12 |", "B[5,12) C[12,)"),
    Case("what is before the horizon in time stays", "A@11 B@13 |", "A[11,13) B[13,)"),
    Case("a deleted key goes wholly", "A@1 -@3 |", ""),
    Case("a tombstone that began before the horizon goes", "A@1 -@3 B@12 |", "B[12,)"),
    Case("the same when the return comes later", "A@1 -@3 | B@12", "B[12,)"),
    Case("a tombstone that begins at the horizon stays", "A@1 -@10 |", "A[1,10) -A[10,)"),
    Case("a waiting delete goes", "-@5 | A@12", "A[12,)"),
    Case("repeated deletes on both sides", "A@1 -@5 -@12 | B@11", "B[11,12) -B[12,)"),
    Case("repeated deletes, then a return", "A@1 -@5 | -@12 B@14", "B[14,)"),
    # hidden no-ops are merged
    Case("no-ops before the horizon are merged", "A@1 A@3 A@7 |", "A[1,)"),
    Case("a run goes on over the horizon", "A@1 A@7 | A@12 B@14", "A[1,14) B[14,)"),
    Case("a change between merged no-ops and the next no-op", "A@1 A@7 A@14 | B@12", "A[1,12) B[12,14) A[14,)"),
    Case("the last overwritten value is merged in", "A/n1@1 A/n2@5 |", "A/n2[1,)"),
    Case("an overwritten value from after the horizon counts", "A/n1@1 A/n2@5 | A/n3@12", "A/n3[1,)"),
    Case("it is taken back to the merged one", "A/n1@1 A/n2@5 A/n3@12 | !A/n3@12", "A/n2[1,)"),
    Case("overwritten by null before the horizon", "A/n1@1 A@5 |", "A[1,)"),
    # what was decided stays decided
    Case("a tie before the horizon vanishes", "A@1 B@5 C@5 |", "A[1,)"),
    Case("a key of ties alone vanishes", "B@5 C@5 | D@12", "D[12,)"),
    Case("a retracted change stays away", "A@1 B@5 !B@5 |", "A[1,)"),
    Case("it stays away when it is sent again", "A@1 B@5 !B@5 | B@5", "A[1,)"),
    Case("a retract of everything", "A@1 !A@1 |", ""),
    Case("a restored change is the anchor", "A@1~1 B@5~1 !B@5~2 !!B@5~3 |", "B[5,)"),
    Case("a change is restored before the horizon in time", "A@1 B@12 !B@12 | !!B@12", "A[1,12) B[12,)"),
    # from before the horizon
    Case("what comes from before the horizon changes nothing", "A@1 | B@7", "A[1,)"),
    Case("a new key from before the horizon does not come in", "| A@7", ""),
    Case("a retract from before the horizon changes nothing", "A@1 B@5 | !B@5", "B[5,)"),
    Case("a tie from before the horizon changes nothing", "A@1 B@5 | C@5", "B[5,)"),
    Case("a redelivery from before the horizon changes nothing", "A@1 B@5 | A@1 B@5", "B[5,)"),
    Case("a delete from before the horizon changes nothing", "A@1 | -@7", "A[1,)"),
    # at the horizon and behind it in time
    Case("at the horizon is not behind it", "A@1 | B@10", "A[1,10) B[10,)"),
    Case("what ended at the horizon is there when its end is taken back", "A@1 B@10 | !B@10", "A[1,)"),
    Case("what ended at the horizon is there when its end is tied", "A@1 B@10 | C@10", "A[1,)"),
    Case("a late change between the anchor and what follows", "A@1 B@14 | C@12", "A[1,12) C[12,14) B[14,)"),
    Case("a late delete behind the anchor", "A@1 B@14 | -@12", "A[1,12) -A[12,14) B[14,)"),
    Case("a greater sequence at the anchor's time is behind", "A@1#1 | B@1#2", "A[1,)"),
    # snapshots
    Case("a snapshot before the horizon in time finds what is unchanged", "A@1 | S@12{A}", "A[1,)"),
    Case("its absence deletes", "S@1{A} | S@12{}", "A[1,12) -A[12,)"),
    Case("it says again what was deleted and is forgotten", "A@1 -@5 | S@12{A}", "A[12,)"),
    Case("the same after a snapshot that is forgotten", "S@1{A} -@5 | S@12{A}", "A[12,)"),
    Case("a silent snapshot still says what a later one asks", "S@1{A} S@14{A} | B@12", "A[1,12) B[12,14) A[14,)"),
    Case("a silent snapshot denies a forgotten key", "A@1 -@5 a.b:C@1 S@14{a.b:C} | B@12",
         "a.b: C[1,); k.1: B[12,14) -B[14,)"),
    Case("a late snapshot between the horizon and the next", "S@1{A} S@14{A} | S@12{B}", "A[1,12) B[12,14) A[14,)"),
    Case("a late snapshot without the key", "S@1{A} S@14{A} | S@12{}", "A[1,12) -A[12,14) A[14,)"),
    Case("what a snapshot from before the horizon left out", "A@1 S@5{?k.1} | S@12{}", "A[1,12) -A[12,)"),
    # sequences
    _sequence("sequences: closed versions go", "A@1#1 B@5#2 |", "B[5,)"),
    _sequence("sequences: the anchor keeps the greatest number", "A@1#1 A@7#5 A@12#3 | B@13#60", "A[1,13) B[13,)"),
    _sequence("sequences: a lower number from after the horizon stays hidden", "A@1#1 B@5#9 C@12#7 |", "B[5,)"),
    _sequence("sequences: also below a delete", "A@1#1 -@5#9 C@12#7 |", ""),
    _sequence("sequences: a number that was judged is behind", "A@1#1 B@5#9 | C@12#7", "B[5,)"),
    _sequence("sequences: a greater number from before in time is behind", "A@1#1 | B@5#9", "A[1,)"),
    _sequence("sequences: a retract of a judged number is behind", "A@1#1 B@5#2 | !B@12#2", "B[5,)"),
    _sequence("sequences: a tie over the horizon stays out", "A@1#1 B@7#2 C@12#2 |", "A[1,)"),
    _sequence("sequences: a retract over the horizon stays", "A@1#1 B@12#2 !B@7#2 |", "A[1,)"),
    _sequence("sequences: what a retract of another leaves", "A@1#1 B@12#2 !C@7#2 |", "A[1,12) B[12,)"),
    _sequence("sequences: extracted again after the horizon", "A@1#1 B@5#2 B@12#2 |", "B[5,)"),
    _sequence("sequences: a greater number goes on", "A@1#1 B@5#2 | C@12#30", "B[5,12) C[12,)"),
    # tie-break columns
    _tie_break("tie-break: the greater one is the anchor", "A/n1@5 B/n2@5 |", "B/n2[5,)"),
    _tie_break("tie-break: a run whose tie-break column changes", "A/n1@5 A/n2@7 | B/n1@12", "A/n2[5,12) B/n1[12,)"),
)  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(shared_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Law], dict[str, str]]:
    """What the versions are in the end, by case; all cases of a law stand side by side in one table."""
    done: dict[Law, dict[str, str]] = {}

    def of(law: Law) -> dict[str, str]:
        if law in done:
            return done[law]
        cases = [case for case in CASES if case.law == law]
        done[law] = {}
        world, owner = world_of(cases, law)
        engine = Expiring(shared_spark, str(tmp_path_factory.mktemp("expiring")), world)
        for load, names in loads(world).items():
            for name in names:
                engine.hear(name)
            if load == "0":
                engine.expire(AT)
                engine.check(engine.table.versions(), "the versions after the expiry")
                engine.check_log()
        engine.check(engine.read(), "read")
        with engine.great():
            engine.table.fold()
        engine.check_log()
        got = versions_of(engine.table.versions(), law)
        wrong = {owner.get(identity, "?"): identity for identity in engine.wrong(engine.expected(), got)}
        done[law] = {case.id: f"differs from the oracle at {wrong[case.id]}" for case in cases if case.id in wrong}
        by_case: dict[str, dict[oracle.Key, str]] = {}
        for identity, versions in got.items():
            by_case.setdefault(owner[identity], {})[identity[1]] = shown(versions, law)
        for case in cases:
            done[law].setdefault(case.id, "; ".join(line for _, line in sorted(by_case.get(case.id, {}).items())))
        return done[law]

    return of


def loads(world: World) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for step in world.steps:
        found.setdefault(step.manifest.split("-")[1], []).append(step.manifest)
    return dict(sorted(found.items()))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_case(outcomes: Callable[[Law], dict[str, str]], case: Case) -> None:
    expected = "; ".join(line for _, line in sorted(case.versions().items()))
    assert outcomes(case.law).get(case.id) == expected, case.said


# --- any history -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", LAWS)
def test_any_history_keeps_every_state_from_the_horizon_on(
    shared_spark: SparkSession, tmp_path: Path, law: Law
) -> None:
    """The horizon is set twice, somewhere in a schedule of changes, snapshots, folds and replays."""
    draw = Random(f"horizon {law.domain}")
    made = scheduled(draw.randrange(2**32), law, histories=120, scopes=6, pictures=4)
    arrivals = [n for n, step in enumerate(made.steps) if step.kind == "arrive"]
    moves = {
        arrivals[len(arrivals) // 3]: draw.randint(3, 5),
        arrivals[2 * len(arrivals) // 3]: draw.randint(6, TIMES - 4),
    }
    made = numbered_on(made, max(moves)) if law.domain == "sequence" else made
    engine = Expiring(shared_spark, str(tmp_path / "lake"), made, late_column="extra")
    for number, step in enumerate(made.steps):
        engine.take(step)
        if number in moves:
            engine.expire(moves[number])
            engine.check(engine.table.versions(), f"the versions after an expiry at {moves[number]}")
            engine.check_log()
    engine.check_log()
    assert engine.refused, "nothing came from before the horizon"
    assert len(engine.said) > 100


def numbered_on(made: World, step: int) -> World:
    """The same world, in which what arrives after a step has numbers greater than all before, as a source has."""
    later = {s.manifest for s in made.steps[step + 1 :]} - {s.manifest for s in made.steps[: step + 1]}
    manifests = dict(made.manifests)
    for name in later:
        manifest = manifests.get(name)
        if isinstance(manifest, Batch):
            said = tuple(
                s if i % 4 == 0 or s.sequence is None else replace(s, sequence=s.sequence + 1000)
                for i, s in enumerate(manifest.statements)
            )
            manifests[name] = replace(manifest, statements=said)
        elif manifest is not None and manifest.snapshot.sequence is not None:
            snapshot = replace(manifest.snapshot, sequence=manifest.snapshot.sequence + 1000)
            manifests[name] = replace(manifest, snapshot=snapshot)
    return replace(made, manifests=manifests)


# --- commits, crashes, questions -------------------------------------------------------------------------------------

LOADS = ("A@1 B@5 a.b:A@1 a.b:-@3 x.y:A@2 x.y:A@7", "C@12 x.y:B@13", "D@11 a.b:E@14")


@pytest.fixture
def engine(shared_spark: SparkSession, lake_dir: Path) -> Expiring:
    scope = scope_of(0)
    manifests = {f"changes-{n}": Batch(f"changes-{n}", tuple(statements_in(s, scope))) for n, s in enumerate(LOADS)}
    world = World(TIME_LAW, (scope,), dict(manifests), tuple(Step("arrive", name) for name in manifests))
    return Expiring(shared_spark, str(lake_dir), world)


def tables(engine: Engine) -> tuple[int | None, int | None]:
    return engine.store.version("silver", f"{ENTITY}_changes"), engine.store.version("silver", ENTITY)


def test_an_expiry_trims_and_makes_no_version_anew(engine: Expiring) -> None:
    for name in ("changes-0", "changes-1"):
        engine.hear(name)
    engine.table.fold()
    before = {file["path"] for file in engine.store.files("silver", ENTITY)}
    assert engine.table.expire(moment_of(AT)).versions == 3
    engine.at = AT
    assert {file["path"] for file in engine.store.files("silver", ENTITY)} <= before, "rows go, none is written"
    assert engine.table.is_folded()


class KilledError(Exception):
    """Where a process might have died."""


@pytest.mark.slow
def test_a_second_expiry_is_a_no_op_and_a_horizon_never_goes_back(engine: Expiring) -> None:
    engine.hear("changes-0")
    engine.hear("changes-1")
    told = engine.table.expire(moment_of(AT))
    engine.at = AT
    assert (told.changes, told.versions) == (4, 3)
    committed = tables(engine)
    for again in (AT, AT - 3):
        told = engine.table.expire(moment_of(again))
        assert (told.moment, told.changes, told.versions) == (moment_of(AT), 0, 0)
        assert tables(engine) == committed
    engine.check_log()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "table"),
    [
        pytest.param("append", f"{ENTITY}_changes", id="before the horizon is recorded"),
        pytest.param("replace", f"{ENTITY}_changes", id="before the log is anchored"),
        pytest.param("remove", ENTITY, id="before the versions are trimmed"),
        pytest.param("advance", ENTITY, id="before the mark is moved"),
    ],
)
@pytest.mark.parametrize("mends", ["an expiry", "an append and a fold"])
def test_a_crash_between_two_commits_is_mended(engine: Expiring, method: str, table: str, mends: str) -> None:
    engine.hear("changes-0")
    engine.hear("changes-1")
    engine.table.fold()
    whole = getattr(Store, method)

    def dies(store: Store, *words: object, **options: object) -> object:
        if words[-1] == table:
            raise KilledError
        return whole(store, *words, **options)

    with patch.object(Store, method, dies), pytest.raises(KilledError):
        engine.table.expire(moment_of(AT))
    if horizon.of(engine.table) is not None:
        engine.at = AT
        with pytest.raises(ContractError, match="before the horizon has expired"):
            engine.table.as_of(moment_of(AT - 1))
    if mends == "an append and a fold":
        engine.hear("changes-2")
        engine.table.fold()
        assert engine.table.audit().isEmpty(), "what is folded is what the log gives"
    engine.expire(AT)
    engine.check(engine.table.versions(), "the versions in the end")
    engine.check_log()
    committed = tables(engine)
    engine.table.fold()
    assert tables(engine) == committed


@pytest.mark.slow
def test_what_was_asked_of_before_the_horizon_is_refused(engine: Expiring) -> None:
    for name in engine.world.manifests:
        engine.hear(name)

    def known(at: int) -> list[tuple[str, str]]:
        rows = engine.table.as_known(moment_of(at), moment_of(2)).collect()
        return sorted((row["k1"], row["state"]) for row in rows)

    before = [known(at) for at in (10, 12, 14)]
    assert len(set(map(str, before))) == 3
    engine.expire(AT)
    assert [known(at) for at in (10, 12, 14)] == before
    with pytest.raises(ContractError, match="before the horizon has expired"):
        engine.table.as_known(moment_of(9), moment_of(3))
    with pytest.raises(ContractError, match="what was known then"):
        engine.table.as_known(moment_of(12), moment_of(0))
    with pytest.raises(ContractError, match="before the horizon has expired"):
        engine.table.as_of(moment_of(9))
    assert sorted(row["state"] for row in engine.table.as_of(moment_of(10)).collect()) == ["A", "B"]
    with pytest.raises(ContractError, match="time zone"):
        engine.table.expire(datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.slow
def test_a_plan_knows_the_horizon(shared_spark: SparkSession, engine: Expiring) -> None:
    engine.hear("changes-0")
    engine.expire(AT)
    plan = engine.table.plan(changes_frame(shared_spark, statements_in("Z@3 n.n:Z@4", scope_of(0)), TIME_LAW))
    assert (plan.opened, plan.closed, plan.rewritten, plan.removed) == (0, 0, 0, 0)


@pytest.mark.slow
def test_rebuild_and_repair_agree_after_an_expiry(shared_spark: SparkSession, engine: Expiring) -> None:
    for name in engine.world.manifests:
        engine.hear(name)
    engine.expire(AT)
    engine.table.rebuild("the test asked for it")
    engine.check(engine.table.versions(), "rebuilt")
    shared_spark.sql(f"DELETE FROM delta.`{engine.store.path('silver', ENTITY)}` WHERE k1 = 'k' AND NOT is_open")
    assert not engine.table.audit().isEmpty()
    engine.table.repair()
    engine.check_log()


def test_sql_refuses_what_lies_before_the_horizon(shared_spark: SparkSession, engine: Expiring) -> None:
    """An answer from what is left would be silently short."""
    engine.hear("changes-0")
    engine.expire(AT)

    def states(at: datetime) -> list[str]:
        query = f"select state from silver.{ENTITY} order by state"
        return [str(state) for (state,) in ask(lambda: shared_spark, Path(engine.store.root), query, as_of=at).rows]

    try:
        assert states(moment_of(AT)) == ["A", "B"]
        for before in (moment_of(AT - 1), moment_of(AT - 1).replace(tzinfo=None)):
            with pytest.raises(ContractError, match=r"before the horizon has.*sql --as-of 2026-01-01T10:00") as refused:
                states(before)
            assert refused.value.exit_code == 2
    finally:
        shared_spark.sql("DROP DATABASE IF EXISTS silver CASCADE")


@pytest.mark.parametrize("expired", [False, True], ids=["without a horizon", "with one"])
def test_a_moment_without_an_offset_is_utc(engine: Expiring, expired: bool) -> None:
    engine.hear("changes-0")
    if expired:
        engine.expire(AT)
    aware = moment_of(AT + 2)
    naive = aware.replace(tzinfo=None)
    table = engine.table
    assert table.as_of(naive).collect() == table.as_of(aware).collect() != []
    assert table.as_known(naive, naive).collect() == table.as_known(aware, aware).collect() != []


@pytest.mark.parametrize(
    ("law", "first", "second", "named"),
    [
        pytest.param(TIME_LAW, "A@5#1", "B@5#2", "second", id="what replaced another"),
        pytest.param(TIME_LAW, "B@5#2", "A@5#1", "first", id="what was replaced came later"),
        pytest.param(TIME_LAW, "A/n1@5#1~1", "A/n2@5#2~2", "second", id="overwritten alone"),
        pytest.param(TIME_LAW, "A@5~1", "A@5~2", "first", id="a redelivery"),
        pytest.param(TIME_LAW, "A@5~1", "A@7~2", "first", id="a no-op"),
        pytest.param(SEQUENCE_LAW, "A@9#1~1", "A@5#1~2", "first", id="of a number extracted twice who told it first"),
    ],
)
def test_an_anchor_names_the_extract_that_opened_its_version(
    shared_spark: SparkSession, law: Law, first: str, second: str, named: str
) -> None:
    log = changes_frame(shared_spark, statements_in(first, scope_of(0)), law, manifest="first").unionByName(
        changes_frame(shared_spark, statements_in(second, scope_of(0)), law, manifest="second")
    )
    (anchor,) = history.expired(log, moment_of(AT), policy_of(law)).collect()
    (version,) = history.timeline(log, policy_of(law)).collect()
    assert (anchor["manifest"], anchor["recorded_at"]) == (named, version["recorded_at"])


NOW = datetime(2026, 3, 31, 17, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("retain", "expected"),
    [
        pytest.param("90d", datetime(2025, 12, 31, tzinfo=UTC), id="days"),
        pytest.param("2w", datetime(2026, 3, 17, tzinfo=UTC), id="weeks"),
        pytest.param("1m", datetime(2026, 2, 1, tzinfo=UTC), id="a month that is shorter"),
        pytest.param("15m", datetime(2024, 12, 1, tzinfo=UTC), id="months over a year's end"),
        pytest.param("10y", datetime(2016, 3, 1, tzinfo=UTC), id="years"),
    ],
)
def test_the_horizon_of_a_retention(retain: str, expected: datetime) -> None:
    assert horizon.since(retain, NOW) == expected


@pytest.mark.slow
def test_expired_is_a_function_of_the_law(shared_spark: SparkSession, engine: Expiring) -> None:
    """Expiring twice is expiring once at the later moment."""
    law = engine.world.law
    said = [s for name in engine.world.manifests for s in statements_in_batch(engine, name)]
    policy, log = engine.table.policy, changes_frame(shared_spark, said, law)
    twice = history.expired(history.expired(log, moment_of(4), policy), moment_of(AT), policy)
    once = history.expired(log, moment_of(AT), policy)
    assert sorted(map(str, twice.collect())) == sorted(map(str, once.collect()))


def statements_in_batch(engine: Engine, name: str) -> tuple[Statement, ...]:
    manifest = engine.world.manifests[name]
    assert isinstance(manifest, Batch)
    return manifest.statements
