"""The law, rule by rule: what was said, and the versions that must come of it. All cases run as scopes of one frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import pytest
from pyspark.sql import Row, SparkSession

from varve import history

from . import oracle
from .cases import CASES, KEY, PITFALLS, RULES, Case, shown, statements_in
from .frames import changes_frame, policy_of, version_of, versions_of
from .oracle import Key, Law, Scope, Statement, Version
from .worlds import TIME_LAW, scope_of

SCOPES: dict[str, Scope] = {case.id: scope_of(number) for number, case in enumerate(CASES)}
LAWS = {case.law for case in CASES}


def statements_of(cases: Iterable[Case]) -> list[Statement]:
    """What the cases say, snapshots written out."""
    said = []
    for case in cases:
        for life in oracle.lives(case.observations(SCOPES[case.id]), case.law).values():
            said.extend(life)
    return said


@pytest.fixture(scope="module")
def timelines(shared_spark: SparkSession) -> dict[str, dict[Key, list[Version]]]:
    """The versions of every case: one Spark job per law."""
    result: dict[str, dict[Key, list[Version]]] = {case.id: {} for case in CASES}
    ids = {scope: case_id for case_id, scope in SCOPES.items()}
    for law in LAWS:
        frame = changes_frame(shared_spark, statements_of(c for c in CASES if c.law == law), law)
        for (scope, key), versions in versions_of(history.timeline(frame, policy_of(law)), law).items():
            result[ids[scope]][key] = versions
    return result


@pytest.fixture(scope="module")
def quarantines(shared_spark: SparkSession) -> dict[str, int]:
    result = dict.fromkeys(SCOPES, 0)
    ids = {scope: case_id for case_id, scope in SCOPES.items()}
    for law in LAWS:
        frame = changes_frame(shared_spark, statements_of(c for c in CASES if c.law == law), law)
        for row in history.quarantined(frame, policy_of(law)).collect():
            result[ids[row["scope_country"], row["scope_entity"]]] += 1
    return result


def _params(cases: Iterable[Case]) -> list[object]:
    return [pytest.param(case, id=case.id) for case in cases]


@pytest.mark.parametrize("case", _params(RULES))
def test_rule(timelines: dict[str, dict[Key, list[Version]]], case: Case) -> None:
    assert {key: shown(v, case.law) for key, v in timelines[case.id].items()} == case.versions(), case.said


@pytest.mark.parametrize("case", _params(PITFALLS))
def test_pitfall(timelines: dict[str, dict[Key, list[Version]]], case: Case) -> None:
    assert {key: shown(v, case.law) for key, v in timelines[case.id].items()} == case.versions(), case.said


@pytest.mark.parametrize("case", _params(c for c in CASES if c.quarantined or "tie" in c.id))
def test_quarantine(quarantines: dict[str, int], case: Case) -> None:
    assert quarantines[case.id] == case.quarantined, case.said


@pytest.mark.parametrize("case", _params(CASES))
def test_the_oracle_agrees_with_the_table(case: Case) -> None:
    """Tables written by hand keep the oracle honest; its two answers, versions and states, must agree as well."""
    observations = case.observations(SCOPES[case.id])
    got = oracle.versions(observations, case.law)
    assert {key: shown(v, case.law) for (_, key), v in got.items()} == case.versions(), case.said
    for identity, life in oracle.lives(observations, case.law).items():
        check_states(got.get(identity, []), oracle.counting(life, case.law), life, case.law)


def check_states(versions: list[Version], counted: oracle.Life, life: oracle.Life, law: Law) -> None:
    """The versions answer every moment, on and just before every boundary, as brute force does."""
    boundaries = {s.valid_from for s in life} | {v.valid_from for v in versions} | {-1}
    for at in sorted({*boundaries, *(b - 0.5 for b in boundaries), *(b + 0.5 for b in boundaries)}):
        ruling = [v for v in versions if v.valid_from <= at and (v.valid_to is None or at < v.valid_to)]
        assert len(ruling) <= 1, (at, ruling)
        state = law.compared(ruling[0].values) if ruling and not ruling[0].is_deleted else None
        assert state == oracle.state_at(counted, at, law), (at, versions)


def test_flags_follow_from_the_interval(timelines: dict[str, dict[Key, list[Version]]]) -> None:
    for lives in timelines.values():
        for versions in lives.values():
            assert [v.is_current for v in versions] == [v.valid_to is None and not v.is_deleted for v in versions]
            assert [v.valid_to for v in versions] == [*[v.valid_from for v in versions[1:]], None]
            assert not versions[0].is_deleted


# --- what the notation cannot say ------------------------------------------------------------------------------------


@pytest.fixture
def timeline_rows(spark: SparkSession) -> Callable[..., list[Row]]:
    def rows(said: str, law: Law = TIME_LAW) -> list[Row]:
        frame = changes_frame(spark, statements_in(said, scope_of(0)), law)
        return sorted(history.timeline(frame, policy_of(law)).collect(), key=lambda r: r["valid_from"])

    return rows


def test_recorded_at_is_that_of_the_earliest_identical_delivery(timeline_rows: Callable[..., list[Row]]) -> None:
    rows = timeline_rows("A@5~7 A@5~3 A@9~1 B@11~8 B@11~9")
    assert [version_of(r, TIME_LAW).recorded_at for r in rows] == [3, 8]


def test_only_the_last_row_carries_the_last_position(timeline_rows: Callable[..., list[Row]]) -> None:
    """The greatest position of everything said: no-ops, tied, replaced and retracted statements too."""
    for said, place in (
        ("A@5 B@7", (7, None)),
        ("A@5 A@9#2", (9, 2)),
        ("A@5 B@7 C@7", (7, None)),
        ("A@5 B@7 !B@7", (7, None)),
        ("A@5 !B@8#1", (8, 1)),
        ("A@5 B@6#2 C@6#1", (6, 2)),
        ("A@5 -@7 -@9", (9, None)),
    ):
        rows = timeline_rows(said)
        assert [r["last_position"] for r in rows[:-1]] == [None] * (len(rows) - 1), said
        last = rows[-1]["last_position"]
        hours = (last["valid_from"].replace(tzinfo=UTC) - datetime(2026, 1, 1, tzinfo=UTC)).total_seconds() / 3600
        assert (hours, last["sequence"]) == place, said


def test_version_keys_are_stable_and_differ(timeline_rows: Callable[..., list[Row]]) -> None:
    first = timeline_rows("A@5 B@7 a.bc:A@5 ab.c:A@5")
    again = timeline_rows("ab.c:A@5 B@7 B@9 A@5 a.bc:A@5 a.bc:C@8")
    keys = {(r["k1"], r["k2"], r["valid_from"]): r["version_key"] for r in first}
    assert len(set(keys.values())) == 4
    assert keys.items() <= {(r["k1"], r["k2"], r["valid_from"]): r["version_key"] for r in again}.items()


def test_equal_states_have_equal_hashes_and_nulls_have_a_place(timeline_rows: Callable[..., list[Row]]) -> None:
    rows = timeline_rows("A@1 x@3 null&x@5 A/n2@7 null@9 x&x@11")
    hashes = [r["row_hash"] for r in rows]
    assert hashes[0] == hashes[3]  # the note is not tracked
    assert len(set(hashes)) == 5


def test_the_same_key_in_two_scopes_is_two_identities(spark: SparkSession) -> None:
    said = statements_in("A@5 B@7", scope_of(0)) + statements_in("A@5 -@6", scope_of(1))
    got = versions_of(history.timeline(changes_frame(spark, said, TIME_LAW), policy_of(TIME_LAW)), TIME_LAW)
    assert shown(got[scope_of(0), KEY], TIME_LAW) == "A[5,7) B[7,)"
    assert shown(got[scope_of(1), KEY], TIME_LAW) == "A[5,6) -A[6,)"


def test_as_of_and_as_known(spark: SparkSession) -> None:
    said = statements_in("A@5~1 B@9~2 | C@7~3 | -@11~4 | !C@7~5", scope_of(0))
    log = changes_frame(spark, said, TIME_LAW)
    policy = policy_of(TIME_LAW)
    versions = history.timeline(log, policy)
    for at, known in ((4, 5), (5, 0), (5, 1), (8, 2), (8, 3), (8, 5), (11, 3), (11, 4)):
        moment = datetime(2026, 1, 1, at, tzinfo=UTC)
        got = history.as_known(log, moment, datetime(2026, 1, 1, known, tzinfo=UTC), policy).collect()
        expected = oracle.as_known(said, at, known, TIME_LAW)
        assert [r["state"] for r in got] == [v[0] for v in expected.values()], (at, known)
        if known == 5:
            now = history.as_of(versions, moment).collect()
            assert [r["state"] for r in now] == [r["state"] for r in got]
