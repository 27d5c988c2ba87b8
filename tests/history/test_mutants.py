"""Mutants: the engine with one thought changed. Each must be caught by the tables of `cases`, or these are too weak.

A mutant is a substitution in the source of a module; one whose text is no longer there fails, so the list stays true.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import TypeVar

import pytest
from _pytest.mark import ParameterSet
from pyspark.sql import DataFrame, SparkSession

from varve import history, history_table
from varve.history_table import HistoryTable, folding, pending

from . import oracle
from .cases import CASES, Case, world_of
from .engine import Engine
from .frames import changes_frame, policy_of, versions_of
from .oracle import Identity, Law, Version
from .test_horizon import AT, Expiring
from .test_timeline import statements_of
from .worlds import SEQUENCE_LAW as BY_NUMBER
from .worlds import TIE_BREAK_LAW, TIME_LAW

ENGINE = [
    import_module(name)
    for package in (history, history_table)
    for name in (package.__name__, *(m.name for m in iter_modules(package.__path__, f"{package.__name__}.")))
]


@dataclass(frozen=True)
class Mutant:
    name: str
    old: str
    new: str
    law: Law = TIME_LAW


TIMELINE = [
    Mutant("the latest recording counts", 'orderBy(is_retract, "recorded_at")', 'orderBy(F.desc("recorded_at"))'),
    Mutant("ties are not seen", 'F.col("_contents") > 1', 'F.col("_contents") > 99'),
    Mutant("a bare retract removes nothing", 'F.greatest("_retracted_at", "_voided_at")', 'F.col("_retracted_at")'),
    Mutant("a retract of null is bare", '(F.col("op") == RETRACT) & _is_null', "is_retract & _is_null"),
    Mutant("a retract removes other contents", '"recorded_at"))).over(all_copies),\n                "_restored_at"',
           '"recorded_at"))).over(position),\n                "_restored_at"'),
    Mutant("nothing is restored", 'F.col("_restored_at") > gone_at', "F.lit(False)"),
    Mutant("an earlier restore holds", 'F.col("_restored_at") > gone_at', 'F.col("_restored_at").isNotNull()'),
    Mutant("what a delete carries is content", "F.when(~is_of_delete, said)", "said"),
    Mutant("at one time the lowest rules", "orderBy(*_place(policy))",
           'orderBy("valid_from", F.desc_nulls_last("sequence"))'),
    Mutant("only the next one hides", "rowsBetween(Window.unboundedPreceding, -1", "rowsBetween(-1, -1", BY_NUMBER),
    Mutant("an equal time is not hidden", "valid_from < _hidden_from", "valid_from <= _hidden_from", BY_NUMBER),
    Mutant("the last extraction counts", "F.min(F.when(~is_retract", "F.max(F.when(~is_retract", BY_NUMBER),
    Mutant("tie-break columns are forgotten", '[*policy.order, *policy.tie_break]', '[*policy.order]', TIE_BREAK_LAW),
    Mutant("an unchanged state opens a version", ' & (F.col("_prior_hash") != F.col("row_hash"))', ""),
    Mutant("overwritten columns show their first value", "F.last(c).over(whole)", "F.first(c).over(whole)"),
    Mutant("a tombstone has no attributes", "F.when(inherits, F.lag(c).over(life))", "F.when(inherits, F.lit(None))"),
    Mutant("a leading delete opens a tombstone", ".filter(~(is_first & inherits))", ""),
    Mutant("a return with the same values is no version", '| (F.col("_prior_deleted") != F.col("is_deleted"))', ""),
    Mutant("nulls leave no trace in hashes", "case when `{c}` is not null then {crc32(c.encode()) - 2**31} end, `{c}`",
           "`{c}`"),
    Mutant("a tombstone is current", '(is_open & ~F.col("is_deleted")).alias', "is_open.alias"),
]  # fmt: skip
FOLDING = [
    Mutant("equal to the last position is later", 'first_from") > F.col("last', 'first_from") >= F.col("last'),
    Mutant("a folded tombstone is like any row", '"is_deleted") & ~F.col("_is_folded")', '"is_deleted")'),
    Mutant("late keys keep their old versions", "(rows, split.late, backlog", "(rows, split.late.limit(0), backlog"),
    Mutant("open rows stay as they are", "F.broadcast(becomes)", "F.broadcast(becomes.limit(0))"),
    Mutant("the tombstone after an open row is lost", "array(false, true)", "array(false)"),
    Mutant("versions tell all of every late key", '"is_plain") & F.col("last_position.is_whole")', '"is_plain")'),
    Mutant("nothing is late", "late = kinds.filter(is_late)", "late = kinds.filter(F.lit(False))"),
    Mutant("the last load is not seen yet", "new_files(table, mark, head)", "new_files(table, mark, head - 1)"),
    Mutant("all is later than what is folded", "all(first > last +", "all(True or first > last +"),
]
SMALL = [
    Mutant("touched keys keep their old versions", "(versions, touched, p.identity, keep=False)",
           "(versions, touched, p.identity)"),
    Mutant("only new changes count", "(history.of_identities(log, touched, p.identity), p)",
           "(self.changes(backlog), p)"),
]  # fmt: skip


def source_of(module: ModuleType) -> str:
    assert module.__file__ is not None
    return Path(module.__file__).read_text(encoding="utf-8")


def home_of(mutant: Mutant) -> ModuleType:
    """The module that the mutant changes."""
    homes = [module for module in ENGINE for _ in range(source_of(module).count(mutant.old))]
    assert len(homes) == 1, f"{mutant.old!r} must stand once in the engine, and stands in {homes}"
    return homes[0]


def mutated(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A copy of its home with the mutant in it, which nobody uses."""
    home = home_of(mutant)
    copy = ModuleType(f"{home.__name__}_mutant")
    copy.__spec__ = importlib.util.spec_from_loader(copy.__name__, loader=None)
    monkeypatch.setitem(sys.modules, copy.__name__, copy)
    exec(compile(source_of(home).replace(mutant.old, mutant.new), copy.__name__, "exec"), copy.__dict__)  # noqa: S102
    return copy


def put_in(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Have the engine use a copy with the mutant in it: wherever its modules name the home, or what comes from it."""
    home, copy = home_of(mutant), mutated(mutant, monkeypatch)
    for user in ENGINE:
        for name, value in list(vars(user).items()):
            if value is home:
                monkeypatch.setattr(user, name, copy)
            elif getattr(value, "__module__", None) == home.__name__:
                monkeypatch.setattr(user, name, getattr(copy, name))
    return copy


Some = TypeVar("Some", bound=Engine)


# --- mutants of the law ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(shared_spark: SparkSession) -> Callable[[Law], tuple[DataFrame, dict[Identity, list[Version]]]]:
    """All cases of a law as one frame, and what the oracle says of them."""

    @cache
    def of(law: Law) -> tuple[DataFrame, dict[Identity, list[Version]]]:
        said = statements_of(case for case in CASES if case.law == law)
        return changes_frame(shared_spark, said, law), oracle.versions(said, law)

    return of


@pytest.mark.parametrize("mutant", [pytest.param(m, id=m.name) for m in TIMELINE])
def test_mutant_of_the_timeline_is_caught(
    told: Callable[[Law], tuple[DataFrame, dict[Identity, list[Version]]]],
    monkeypatch: pytest.MonkeyPatch,
    mutant: Mutant,
) -> None:
    copy = mutated(mutant, monkeypatch)
    frame, expected = told(mutant.law)
    assert versions_of(copy.timeline(frame, policy_of(mutant.law)), mutant.law) != expected


# --- mutants of folding ----------------------------------------------------------------------------------------------


def _params(mutants: list[Mutant], quick: int) -> list[ParameterSet]:
    """The first few run by default: each costs a read of the whole table."""
    return [
        pytest.param(mutant, id=mutant.name, marks=[pytest.mark.slow] if position >= quick else [])
        for position, mutant in enumerate(mutants)
    ]


@pytest.fixture(scope="module")
def half_folded(shared_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """All cases without snapshots: their first load folded, the others waiting to be."""
    world, _ = world_of([case for case in CASES if case.law == TIME_LAW and not case.has_snapshots], TIME_LAW)
    engine = Engine(shared_spark, str(tmp_path_factory.mktemp("mutants")), world)
    first, *others = (step.manifest for step in world.steps)
    engine.hear(first)
    with engine.great():
        engine.table.fold()
        for name in reversed(others):  # the largest of them is the last: most lives have two loads
            engine.hear(name)
    return engine


def read_of(engine: Engine) -> dict[Identity, list[Version]]:
    known = engine.table
    fresh = HistoryTable(known.store, known.entity, known.policy, schema=known.schema)
    return versions_of(fresh.read(), TIME_LAW)


@pytest.mark.parametrize("mutant", _params(FOLDING, 3) + _params(SMALL, 1))
def test_mutant_of_folding_is_caught(half_folded: Engine, monkeypatch: pytest.MonkeyPatch, mutant: Mutant) -> None:
    """`read` computes what a fold writes."""
    copy = put_in(mutant, monkeypatch)
    if mutant in FOLDING:
        monkeypatch.setattr(copy if home_of(mutant) is pending else pending, "REWRITE_BELOW_ROWS", 0)
    assert read_of(half_folded) != half_folded.expected()


@pytest.mark.parametrize("great", [True, False], ids=["great", "small"])
def test_the_engine_itself_is_not_caught(half_folded: Engine, monkeypatch: pytest.MonkeyPatch, great: bool) -> None:
    if great:
        monkeypatch.setattr(pending, "REWRITE_BELOW_ROWS", 0)
    assert read_of(half_folded) == half_folded.expected()


# --- mutants of what is written --------------------------------------------------------------------------------------

MERGES = [
    Mutant("closed rows of late keys are not found", " if split.late is None else on", ""),
    Mutant("what nothing replaces stays", '(was, by, "full_outer")', '(was, by, "left")'),
    Mutant("what is new does not differ", '~F.col("_is").eqNullSafe(F.col("_was"))', 'F.col("_is") != F.col("_was")'),
]  # fmt: skip
ASSERTIONS = [
    Mutant("a called snapshot denies every key", 'F.coalesce("op", F.lit("delete"))', 'F.lit("delete")'),
    Mutant("what stands at a snapshot does not call it", " | is_at(policy, F.col(as_of), F.col(sequence))", ""),
]
EXPIRIES = [
    Mutant("at the horizon is behind it", "hidden = F.col(valid_from) <", "hidden = F.col(valid_from) <="),
    Mutant("tombstones stay", "remove(ended | is_gone(at),", "remove(ended,"),
    Mutant("what comes from behind counts", "changes.filter(~found.hides(table.policy))", "changes"),
]
SILENT = "A@1 a.b:A@1 x.y:A@1 | S@5{k.1:A,a.b:A,x.y:A} | S@9{k.1:A,x.y:A} | B@3 a.b:B@7 x.y:B@9"
FORGOTTEN = "A@1 B@10 a.b:A@1 a.b:-@3 x.y:A@1 x.y:B@5 | B@7 n.n:C@2 x.y:C@10"


def copied(engine: Some, folder: Path) -> Some:
    """The same table in another folder."""
    shutil.copytree(engine.store.root, folder)
    copy = type(engine)(engine.spark, str(folder), engine.world)
    copy.heard = list(engine.heard)
    return copy


@pytest.fixture(scope="module")
def silent(shared_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Two snapshots that said nothing new; the last load comes late."""
    world, _ = world_of([Case("silent", SILENT, "")], TIME_LAW)
    engine = Engine(shared_spark, str(tmp_path_factory.mktemp("silent")), world)
    for step in world.steps[:-1]:
        engine.hear(step.manifest)
    engine.table.fold()
    return engine


@pytest.fixture(scope="module")
def forgotten(shared_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Expiring:
    """A first load that is folded; the second comes from before the horizon."""
    world, _ = world_of([Case("forgotten", FORGOTTEN, "")], TIME_LAW)
    engine = Expiring(shared_spark, str(tmp_path_factory.mktemp("forgotten")), world)
    engine.hear(world.steps[0].manifest)
    engine.table.fold()
    return engine


@pytest.mark.parametrize(
    "mutant", [pytest.param(m, id=m.name) for m in (*FOLDING, *SMALL, *MERGES, *ASSERTIONS, *EXPIRIES)]
)
def test_every_mutant_changes_the_engine(mutant: Mutant) -> None:
    """Most of them run with --all only, and would otherwise be missed no earlier."""
    assert home_of(mutant)


NONE = pytest.param(None, id="the engine itself", marks=pytest.mark.slow)


@pytest.mark.parametrize("mutant", [*_params(MERGES, 1), NONE])
def test_mutant_of_a_merge_is_caught(
    half_folded: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: Mutant | None
) -> None:
    used = folding if mutant is None else put_in(mutant, monkeypatch)
    monkeypatch.setattr(pending, "REWRITE_BELOW_ROWS", 0)
    monkeypatch.setattr(used, "REWRITE_ABOVE_SHARE", 2)
    engine = copied(half_folded, tmp_path / "lake")
    engine.table.fold()
    assert (versions_of(engine.table.versions(), TIME_LAW) == engine.expected()) == (mutant is None)


@pytest.mark.parametrize("mutant", [*_params(ASSERTIONS, 1), NONE])
def test_mutant_of_the_assertions_is_caught(
    silent: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: Mutant | None
) -> None:
    if mutant is not None:
        put_in(mutant, monkeypatch)
    engine = copied(silent, tmp_path / "lake")
    engine.hear(engine.world.steps[-1].manifest)
    wrong = engine.wrong(engine.expected(), versions_of(engine.table.read(), TIME_LAW))
    assert bool(wrong) == (mutant is not None)


@pytest.mark.parametrize("mutant", [*_params(EXPIRIES, 1), NONE])
def test_mutant_of_the_horizon_is_caught(
    forgotten: Expiring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: Mutant | None
) -> None:
    if mutant is not None:
        put_in(mutant, monkeypatch)
    engine = copied(forgotten, tmp_path / "lake")
    engine.said = list(forgotten.said)
    engine.expire(AT)
    engine.hear(engine.world.steps[-1].manifest)
    assert (versions_of(engine.table.read(), TIME_LAW) == engine.expected()) == (mutant is None)
