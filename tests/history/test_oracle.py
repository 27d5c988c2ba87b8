"""Properties: for any history, heard in any order, timeline = oracle = folded = read, and the audit finds nothing.

Histories are many and small: they live side by side in the scopes of one table, so that a world of them costs one
schedule of appends and folds. VARVE_HISTORIES sets how many (default: 500).
"""

from __future__ import annotations

import os
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from varve import history

from . import oracle
from .classes import EXPECTED, classes
from .engine import Engine
from .frames import changes_frame, difference, policy_of, versions_of
from .oracle import Law, Statement
from .strategies import SEEDS, lives, scheduled
from .test_timeline import check_states
from .worlds import SEQUENCE_LAW, TIE_BREAK_LAW, TIME_LAW, World, shares, world

HISTORIES = int(os.environ.get("VARVE_HISTORIES", "500"))
WORLD = 250  # histories that share a table: the size up to which the fixed price of a commit counts most
SCOPES = 6
LAWS = [pytest.param(TIME_LAW, id="time"), pytest.param(SEQUENCE_LAW, id="sequence")]
# A world costs minutes to shrink and tells by itself which life went wrong.
DRAWN = settings(
    deadline=None, phases=(Phase.generate,), database=None, suppress_health_check=list(HealthCheck), derandomize=True
)


# --- the oracle's own laws: no Spark ---------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [*LAWS, pytest.param(TIE_BREAK_LAW, id="tie-break")])
def test_the_oracle_knows_no_order_and_no_repetition(law: Law) -> None:
    @settings(deadline=None, max_examples=60)
    @given(lives(law), st.randoms())
    def holds(life: list[Statement], draw: random.Random) -> None:
        again = life + draw.choices(life, k=3)
        draw.shuffle(again)
        assert oracle.versions(again, law) == oracle.versions(life, law)

    holds()


@pytest.mark.parametrize("law", [*LAWS, pytest.param(TIE_BREAK_LAW, id="tie-break")])
def test_the_oracles_versions_answer_every_moment_as_its_states_do(law: Law) -> None:
    @settings(deadline=None, max_examples=60)
    @given(lives(law))
    def holds(life: list[Statement]) -> None:
        for identity, said in oracle.lives(life, law).items():
            versions = oracle.versions(life, law).get(identity, [])
            check_states(versions, oracle.counting(said, law), said, law)
            assert all(a.valid_to == b.valid_from for a, b in pairwise(versions))

    holds()


def test_a_snapshot_is_what_its_statements_are() -> None:
    @settings(deadline=None, max_examples=20)
    @given(SEEDS)
    def holds(seed: int) -> None:
        made = world(random.Random(seed), TIME_LAW, seeds=[seed, seed + 1], scopes=2)
        written_out = [s for life in oracle.lives(made.observations(), TIME_LAW).values() for s in life]
        assert oracle.versions(written_out, TIME_LAW) == oracle.versions(made.observations(), TIME_LAW)

    holds()


# --- timeline = oracle -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [*LAWS, pytest.param(TIE_BREAK_LAW, id="tie-break")])
def test_timeline_equals_the_oracle(shared_spark: SparkSession, law: Law) -> None:
    made = world(random.Random(law.domain), law, seeds=range(HISTORIES), scopes=40)
    said = [s for life in oracle.lives(made.observations(), law).values() for s in life]
    random.Random(0).shuffle(said)
    got = versions_of(history.timeline(changes_frame(shared_spark, said, law), policy_of(law)), law)
    expected = oracle.versions(made.observations(), law)
    assert not difference(expected, got)
    for identity, life in oracle.lives(made.observations(), law).items():
        check_states(got.get(identity, []), oracle.counting(life, law), life, law)


# --- timeline = oracle = folded = read, on any schedule --------------------------------------------------------------

met: dict[str, Counter[str]] = {"time": Counter(), "sequence": Counter()}
made_of: dict[str, list[World]] = {"time": [], "sequence": []}


@pytest.mark.parametrize("law", LAWS)
def test_any_schedule(shared_spark: SparkSession, tmp_path: Path, law: Law) -> None:
    lakes = iter(range(1000))

    @settings(DRAWN, max_examples=max(1, HISTORIES // WORLD // 2))
    @given(SEEDS)
    def holds(seed: int) -> None:
        made = scheduled(seed, law, histories=WORLD, scopes=SCOPES)
        made_of[law.domain].append(made)
        met[law.domain].update(classes(made))
        engine = Engine(shared_spark, str(tmp_path / str(next(lakes))), made, late_column="extra")
        for step in made.steps:
            engine.take(step)
        engine.check_log()

    holds()


def test_every_class_occurred() -> None:
    """A property is worth what its examples are: each hard case was met, in the shares that were asked for."""
    if not all(made_of.values()):
        pytest.skip("runs after test_any_schedule")
    total = met["time"] + met["sequence"]
    missing = (EXPECTED["time"] | EXPECTED["sequence"]) - total.keys()
    assert not missing, f"never met: {sorted(missing)}; met: {total}"
    for made in (*made_of["time"], *made_of["sequence"]):
        deletes, duplicates = shares(made)
        assert 0.17 < deletes < 0.25
        assert 0.10 < duplicates < 0.20
