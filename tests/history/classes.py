"""Which of the hard cases occurred in a world, so that a test that never met one fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from . import oracle
from .oracle import Identity, Law, Life, Snapshot, Statement, Version
from .worlds import Batch, World

COMMON = frozenset(
    {
        # order of arrival
        "late below a no-op",
        "late below a tombstone",
        "late below a repeated delete",
        "late below a waiting delete",
        "late before the first version",
        "late splits a version",
        "late joins a neighbour",
        "late changes nothing",
        "several versions in one batch",
        # schedules
        "fold between arrivals",
        "parked and accepted",
        "parked, and others came in before it",
        "several scopes",
        "snapshot of several scopes",
        # repetition
        "replay",
        "duplicate of a folded row",
        "duplicate in one batch",
        "duplicate recorded earlier",
        # contradiction and correction
        "tie with a folded row",
        "tie in what is not folded",
        "tie empties a key",
        "tie resolved by a retract",
        "retract of a folded row",
        "retract before its statement",
        "retract without content",
        "sent again after its retract",
        "retract empties a key",
        "retract of null",
        "retract of a delete",
        "restored delete",
        "restored after its retract",
        "restored too early",
        # states
        "null to value",
        "value to null",
        "A to B to A",
        "reappears identical",
        "delete before insert",
        "deletes only",
        "overwritten column only",
        "new column",
        "several keys in a scope",
        # snapshots
        "late snapshot",
        "snapshot asserts what is so",
        "snapshot changes",
        "snapshot deletes",
        "snapshot leaves a key out of it",
        "snapshot leaves a key out of which it holds a good row",
        "change below a snapshot",
        "retract below a snapshot",
        "key first seen behind a snapshot",
    }
)
EXPECTED = {
    "time": COMMON | {"greater sequence at an equal time", "lower sequence at an equal time, late", "no sequence",
                      "change at the position of a snapshot"},
    "sequence": COMMON | {"greater sequence hides a later time", "extracted at two times",
                          "late extraction moves a version"},
}  # fmt: skip


def classes(world: World) -> Counter[str]:
    """How often each class occurred on the world's schedule."""
    found: Counter[str] = Counter()
    heard: list[str] = []
    folded: list[str] = []
    parked: dict[str, int] = {}  # and how many manifests had been heard
    for step in world.steps:
        if step.kind == "fold":
            found["fold between arrivals"] += 0 < len(heard) < len(world.manifests)
            folded = list(heard)
        elif step.kind == "park":
            parked[step.manifest] = len(heard)
        elif step.kind == "arrive":
            if step.manifest in heard:
                found["replay"] += 1
                continue
            if step.manifest in parked:
                found["parked and accepted"] += 1
                found["parked, and others came in before it"] += len(heard) > parked[step.manifest]
            found.update(_arrivals(world, step.manifest, heard, folded))
            heard.append(step.manifest)
    found["several scopes"] += len(world.scopes) > 1
    found.update(_outcomes(world))
    return +found  # without those that are zero


def _arrivals(world: World, name: str, heard: list[str], folded: list[str]) -> Iterator[str]:
    law, manifest = world.law, world.manifests[name]
    known, seen = (oracle.lives(world.observations(names), law) for names in (folded, heard))
    snapshots = [o for o in world.observations(heard) if isinstance(o, Snapshot)]
    if isinstance(manifest, Batch):
        arriving: dict[Identity, list[Statement]] = {}
        for statement in manifest.statements:
            life = known.get(statement.identity, [])
            said_before = arriving.setdefault(statement.identity, [])
            yield from _statement(statement, life, [*seen.get(statement.identity, []), *said_before], law)
            yield from _beside_snapshots(statement, snapshots, statement.identity in seen, law)
            said_before.append(statement)
        for identity, said in arriving.items():
            yield from _key(known.get(identity, []), said, law)
    else:
        yield from _snapshot(manifest.snapshot, seen, snapshots, law)


def _statement(said: Statement, folded: Life, heard: Life, law: Law) -> Iterator[str]:
    """folded: what the last fold knew of the key; heard: what had arrived before this statement."""
    counted, here = oracle.counting(folded, law), oracle.place(said, law)
    versions = oracle.life_versions(folded, law)
    if not oracle.is_retract(said):
        yield from _late(said, counted, versions, law)
        for other in folded:
            if oracle.place(other, law) == here and oracle.standing(other, folded, law):
                same = oracle.content(other) == oracle.content(said)
                yield "duplicate of a folded row" if same else "tie with a folded row"
                if same and said.recorded_at < other.recorded_at:
                    yield "duplicate recorded earlier"
                if same and said.valid_from < other.valid_from:
                    yield "late extraction moves a version"
                if same and said.valid_from != other.valid_from:
                    yield "extracted at two times"
        for other in heard:
            if other not in folded and oracle.place(other, law) == here and not oracle.is_retract(other):
                same = oracle.content(other) == oracle.content(said)
                if not same:
                    yield "tie in what is not folded"
                elif said.recorded_at == other.recorded_at:
                    yield "duplicate in one batch"
        if oracle.is_restore(said) and oracle.retracted(said, heard, law):
            stays = oracle.retracted(said, [*heard, said], law)
            yield "restored too early" if stays else "restored after its retract"
            if said.op == "restore_delete" and not stays:
                yield "restored delete"
        elif oracle.retracted(said, heard, law):
            yield (
                "sent again after its retract"
                if said in [replace(o, recorded_at=said.recorded_at) for o in heard]
                else "retract before its statement"
            )
        for other in counted:
            if law.domain == "time" and other.valid_from == said.valid_from:
                if oracle.low(other.sequence) < oracle.low(said.sequence):
                    yield "greater sequence at an equal time"
                elif oracle.low(other.sequence) > oracle.low(said.sequence):
                    yield "lower sequence at an equal time, late"
            elif law.domain == "sequence" and other.sequence < said.sequence and other.valid_from >= said.valid_from:
                yield "greater sequence hides a later time"
        if said.sequence is None:
            yield "no sequence"
        if said.op == "delete" and not any(o.op == "upsert" for o in heard):
            yield "delete before insert"
        if len(said.values) > 2 and said.values[2] is not None:
            yield "new column"
    else:
        targets = [o for o in folded if oracle.standing(o, folded, law) and oracle.retracted(o, [said], law)]
        if targets:
            yield "retract of a folded row"
            if oracle.quarantined(folded, law) and not oracle.quarantined([*folded, said], law):
                yield "tie resolved by a retract"
        if said.op == "retract_null":
            yield "retract of null"
        elif said.op == "retract_delete":
            yield "retract of a delete"
        elif all(value is None for value in said.values):
            yield "retract without content"


def _late(said: Statement, counted: Life, versions: list[Version], law: Law) -> Iterator[str]:
    at = said.valid_from
    if not counted or at >= max(s.valid_from for s in counted):
        return
    after = oracle.life_versions([*counted, said], law)
    if not versions:
        if said.op == "upsert" and all(s.op == "delete" for s in counted):
            yield "late below a waiting delete"
        return
    last = versions[-1]
    if last.is_deleted and at < last.valid_from:
        yield "late below a tombstone"
    elif last.is_deleted and at > last.valid_from:
        yield "late below a repeated delete"
    elif last.valid_from < at:
        yield "late below a no-op"
    if at < versions[0].valid_from:
        yield "late before the first version"
    if len(after) == len(versions) + 2:
        yield "late splits a version"
    elif len(after) == len(versions) and after != versions:
        yield "late joins a neighbour"
    elif after == versions:
        yield "late changes nothing"


def _key(folded: Life, arriving: Life, law: Law) -> Iterator[str]:
    """What a whole batch does to one key."""
    before, after = (oracle.life_versions(life, law) for life in (folded, [*folded, *arriving]))
    if before and not after:
        yield "retract empties a key" if any(oracle.is_retract(s) for s in arriving) else "tie empties a key"
    if len(after) >= len(before) + 2 and len({s.valid_from for s in arriving}) > 1:
        yield "several versions in one batch"


def _beside_snapshots(said: Statement, snapshots: list[Snapshot], is_known: bool, law: Law) -> Iterator[str]:
    for snapshot in snapshots:
        if said.scope not in snapshot.scopes:
            continue
        if law.domain == "time":
            behind, at = said.valid_from < snapshot.as_of, said.valid_from == snapshot.as_of and said.sequence is None
        else:
            behind, at = said.sequence < snapshot.sequence, said.sequence == snapshot.sequence
        if at:
            yield "change at the position of a snapshot"
        if behind:
            yield "retract below a snapshot" if oracle.is_retract(said) else "change below a snapshot"
            if not is_known and (said.scope, said.key) not in snapshot.excluded:
                yield "key first seen behind a snapshot"


def _snapshot(
    said: Snapshot, seen: dict[Identity, list[Statement]], earlier: list[Snapshot], law: Law
) -> Iterator[str]:
    if len(said.scopes) > 1:
        yield "snapshot of several scopes"
    if any(e.as_of > said.as_of and e.scopes & said.scopes for e in earlier):
        yield "late snapshot"
    if said.excluded & seen.keys():
        yield "snapshot leaves a key out of it"
    rows = {(scope, key): law.compared(values) for scope, key, values in said.rows}
    if said.excluded & seen.keys() & rows.keys():
        yield "snapshot leaves a key out of which it holds a good row"
    for identity, life in seen.items():
        if identity[0] in said.scopes and identity not in said.excluded:
            before = oracle.state_at(oracle.counting(life, law), said.as_of, law)
            if identity in rows and before is not None:
                yield "snapshot asserts what is so" if before == rows[identity] else "snapshot changes"
            elif before is not None:
                yield "snapshot deletes"


def _outcomes(world: World) -> Iterator[str]:
    law = world.law
    lives = oracle.lives(world.observations(), law)
    for identity, life in lives.items():
        versions = oracle.life_versions(life, law)
        counted = oracle.counting(life, law)
        if counted and not versions:
            yield "deletes only"
        for left, right in pairwise(versions):
            if not left.is_deleted and not right.is_deleted:
                for old, new in zip(law.compared(left.values), law.compared(right.values), strict=True):
                    if old is None and new is not None:
                        yield "null to value"
                    elif old is not None and new is None:
                        yield "value to null"
        for first, middle, last in zip(versions, versions[1:], versions[2:], strict=False):
            if law.compared(first.values) == law.compared(last.values) and not first.is_deleted and not last.is_deleted:
                yield "reappears identical" if middle.is_deleted else "A to B to A"
        ordered = sorted((s for s in counted if s.op == "upsert"), key=lambda s: oracle.place(s, law))
        if any(law.compared(a.values) == law.compared(b.values) and a.values != b.values for a, b in pairwise(ordered)):
            yield "overwritten column only"
        if sum(other[0] == identity[0] for other in lives) > 1:
            yield "several keys in a scope"
