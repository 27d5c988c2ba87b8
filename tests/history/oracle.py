"""What history must say, in plain Python, by brute force.

Nothing here is shared with the engine: no Spark, no windows, no sorting of whole lives. Every answer is derived from
one question, "which statement governs key k at time t?", asked anew at every moment at which anything was said.

    Statement   one change: op (see `Op`) on one key at (valid_from, sequence)
    Snapshot    a complete picture of some scopes at as_of: "upsert" of every row in it, "delete" of every other key
    Law         which columns are compared (tracked), merely carried (overwritten), break ties; and the domain
    Version     one row of the result

Times and sequences may be anything that can be ordered; None is below everything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

Scope = tuple[str, str]
Key = tuple[Any, ...]
Identity = tuple[Scope, Key]
Values = tuple[Any, ...]
Life = Sequence["Statement"]
Op = Literal["upsert", "delete", "retract", "retract_null", "retract_delete", "restore", "restore_delete"]


@dataclass(frozen=True, slots=True)
class Law:
    keys: tuple[str, ...]
    tracked: tuple[str, ...]
    overwritten: tuple[str, ...] = ()
    tie_break: tuple[str, ...] = ()  # names among tracked and overwritten
    domain: Literal["time", "sequence"] = "time"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of `Statement.values`, in their order."""
        return self.tracked + self.overwritten

    def compared(self, values: Values) -> Values:
        return values[: len(self.tracked)]


@dataclass(frozen=True, slots=True)
class Statement:
    scope: Scope
    key: Key
    op: Op
    valid_from: Any
    sequence: Any
    values: Values  # tracked, then overwritten
    recorded_at: Any = 0

    @property
    def identity(self) -> Identity:
        return self.scope, self.key


@dataclass(frozen=True, slots=True)
class Snapshot:
    scopes: frozenset[Scope]
    as_of: Any
    rows: tuple[tuple[Scope, Key, Values], ...]
    excluded: frozenset[Identity] = frozenset()  # present in the source but not usable: nothing is said of them
    recorded_at: Any = 0
    sequence: Any = None


Observation = Statement | Snapshot


@dataclass(frozen=True, slots=True)
class Version:
    scope: Scope
    key: Key
    values: Values
    valid_from: Any
    valid_to: Any
    is_current: bool
    is_deleted: bool
    recorded_at: Any = field(default=None)

    @property
    def identity(self) -> Identity:
        return self.scope, self.key


# --- what was said ---------------------------------------------------------------------------------------------------


def lives(observations: Iterable[Observation], law: Law) -> dict[Identity, list[Statement]]:
    """Every statement about every key, snapshots written out over all keys ever seen in their scopes."""
    said = list(observations)
    seen: set[Identity] = set()
    for observation in said:
        if isinstance(observation, Statement):
            seen.add(observation.identity)
        else:
            seen.update((scope, key) for scope, key, _ in observation.rows)
    result: dict[Identity, list[Statement]] = {identity: [] for identity in seen}
    for observation in said:
        if isinstance(observation, Statement):
            result[observation.identity].append(observation)
        else:
            for statement in _expanded(observation, seen, law):
                result[statement.identity].append(statement)
    return result


def _expanded(snapshot: Snapshot, seen: set[Identity], law: Law) -> Iterable[Statement]:
    rows: dict[Identity, list[Values]] = defaultdict(list)
    for scope, key, values in snapshot.rows:
        rows[scope, key].append(values)
    nothing = (None,) * len(law.columns)
    for scope, key in seen:
        if scope not in snapshot.scopes or (scope, key) in snapshot.excluded:
            continue
        said: list[tuple[Op, Values]] = [("upsert", v) for v in rows.get((scope, key), [])]
        for op, values in said or [("delete", nothing)]:
            yield Statement(scope, key, op, snapshot.as_of, snapshot.sequence, values, snapshot.recorded_at)


# --- where a statement stands, and whether it counts -----------------------------------------------------------------


def low(value: Any) -> tuple[Any, ...]:
    """Orders None below everything."""
    return () if value is None else (value,)


def place(statement: Statement, law: Law) -> tuple[Any, ...]:
    """What two statements share when they speak of the same moment of the same key."""
    ties = tuple(low(statement.values[law.columns.index(name)]) for name in law.tie_break)
    if law.domain == "sequence":
        return low(statement.sequence), *ties
    return low(statement.valid_from), low(statement.sequence), *ties


def content(statement: Statement) -> tuple[Any, ...]:
    """What two statements share when they say the same; what a delete carries of attributes is no content."""
    return ("delete",) if statement.op in ("delete", "retract_delete", "restore_delete") else statement.values


def is_retract(statement: Statement) -> bool:
    return statement.op in ("retract", "retract_null", "retract_delete")


def is_restore(statement: Statement) -> bool:
    return statement.op in ("restore", "restore_delete")


def retracted(statement: Statement, life: Life, law: Law) -> bool:
    """Whether something at its place takes it back, and nothing that was learned later restores it."""
    here = [other for other in life if place(other, law) == place(statement, law)]
    gone = [other.recorded_at for other in here if is_retract(other) and _is_of(other, statement)]
    back = [other.recorded_at for other in here if is_restore(other) and content(other) == content(statement)]
    return bool(gone) and not (back and max(back) > max(gone))


def _is_of(retract: Statement, statement: Statement) -> bool:
    is_bare = retract.op == "retract" and all(value is None for value in retract.values)
    return is_bare or content(retract) == content(statement)


def standing(statement: Statement, life: Life, law: Law) -> bool:
    return not is_retract(statement) and not retracted(statement, life, law)


def at_its_place(statement: Statement, life: Life, law: Law) -> list[Statement]:
    """What stands where this statement stands, itself included."""
    return [other for other in life if place(other, law) == place(statement, law) and standing(other, life, law)]


def quarantined(life: Life, law: Law) -> list[Statement]:
    return [s for s in life if standing(s, life, law) and _disagree(at_its_place(s, life, law))]


def counting(life: Life, law: Law) -> list[Statement]:
    """The statements that are neither retracted nor tied; of identical ones the earliest time and knowledge."""
    result = []
    for s in life:
        same = at_its_place(s, life, law)
        if standing(s, life, law) and not _disagree(same):
            result.append(
                replace(
                    s, op="delete" if content(s) == ("delete",) else "upsert",
                    valid_from=min(o.valid_from for o in same), recorded_at=min(o.recorded_at for o in same),
                )
            )  # fmt: skip
    return result


def _disagree(said: Life) -> bool:
    return len({content(s) for s in said}) > 1


# --- what is true when -----------------------------------------------------------------------------------------------


def governing(counted: Life, at: Any, law: Law) -> Statement | None:
    """The statement that rules at a time: of all that began by then, the one with the greatest place."""
    begun = [s for s in counted if s.valid_from <= at]
    return max(begun, key=lambda s: place(s, law)) if begun else None


def state_at(counted: Life, at: Any, law: Law) -> Values | None:
    """The tracked values of one key at a time; None when it does not exist then."""
    ruler = governing(counted, at, law)
    return None if ruler is None or ruler.op == "delete" else law.compared(ruler.values)


@dataclass(slots=True)
class _Run:
    first: Statement
    last: Statement
    begins: Any
    ends: Any = None


def life_versions(life: Life, law: Law) -> list[Version]:
    """The versions of one key: ask who governs at every moment, and join equal neighbours."""
    return list(_versions_of_counted(tuple(counting(life, law)), law))


@cache
def _versions_of_counted(counted: tuple[Statement, ...], law: Law) -> tuple[Version, ...]:
    runs: list[_Run] = []
    for moment in sorted({s.valid_from for s in counted}):
        ruler = governing(counted, moment, law)
        assert ruler is not None
        if runs and _same_state(runs[-1].last, ruler, law):
            runs[-1].last = ruler
        elif runs or ruler.op == "upsert":
            if runs:
                runs[-1].ends = moment
            runs.append(_Run(first=ruler, last=ruler, begins=moment))
    result: list[Version] = []
    for run in runs:
        deleted = run.first.op == "delete"
        result.append(
            Version(
                scope=run.first.scope,
                key=run.first.key,
                values=result[-1].values if deleted else run.last.values,
                valid_from=run.begins,
                valid_to=run.ends,
                is_current=run.ends is None and not deleted,
                is_deleted=deleted,
                recorded_at=run.first.recorded_at,
            )
        )
    return tuple(result)


def _same_state(left: Statement, right: Statement, law: Law) -> bool:
    if left.op == "delete" or right.op == "delete":
        return left.op == right.op
    return law.compared(left.values) == law.compared(right.values)


def versions(observations: Iterable[Observation], law: Law) -> dict[Identity, list[Version]]:
    """All versions of all keys; keys that never lived are absent."""
    result = {identity: life_versions(life, law) for identity, life in lives(observations, law).items()}
    return {identity: rows for identity, rows in result.items() if rows}


def as_known(observations: Iterable[Observation], at: Any, known_at: Any, law: Law) -> dict[Identity, Values]:
    """The live states at a time, as they were believed at another time."""
    known = [o for o in observations if o.recorded_at <= known_at]
    states = {identity: state_at(counting(life, law), at, law) for identity, life in lives(known, law).items()}
    return {identity: values for identity, values in states.items() if values is not None}
