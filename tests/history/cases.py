"""Histories as one line of text: what was said, and the versions that must come of it.

A@5            state A from 5         -@7     deleted at 7      !A@5       A at 5 is retracted   !@5  all at 5 is
!!A@5          A at 5 is restored     !null@5 the state null at 5 is retracted
!-@7           the delete at 7 is retracted   !!-@7 it is restored
A@5#2          with sequence 2        A@5~3   recorded at 3     a.bc:A@5   of another key        null@5  state null
A+2@5          amount 2               A&x@5   extra x           A/n1@5     note n1 (overwritten)
a.b.c:A@5      of a key of three columns
S@5{A}         complete snapshot at 5     S@5{a.bc:A,k.1:B}           S@5{?k.1}  k.1 is there but unusable
|              what follows comes in a later load

A[5,7) B[7,)   A until 7, then B          -A[7,)  deleted since 7, A was the last state
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .oracle import Identity, Key, Law, Observation, Op, Scope, Snapshot, Statement, Values, Version
from .worlds import SEQUENCE_LAW, THREE_KEYS_LAW, TIE_BREAK_LAW, TIME_LAW, Batch, Picture, Step, World, scope_of

KEY: Key = ("k", "1")
STATE = r"(?P<state>[A-Za-z0-9]*)(?:\+(?P<amount>\d+))?(?:&(?P<extra>\w+))?(?:/(?P<note>\w+))?"
STATEMENT = re.compile(
    rf"(?:(?P<key>\w*(?:\.\w*)+):)?(?P<mark>!{{0,2}}-?){STATE}@(?P<at>[\d.]+)(?:#(?P<sequence>\d+))?(?:~(?P<recorded>\d+))?"
)
SNAPSHOT = re.compile(r"S@(?P<at>[\d.]+)\{(?P<rows>[^}]*)\}(?:#(?P<sequence>\d+))?(?:~(?P<recorded>\d+))?")
ROW = re.compile(rf"(?:(?P<key>\w*(?:\.\w*)+):)?{STATE}")


@dataclass(frozen=True, slots=True)
class Case:
    id: str
    said: str
    expected: str  # versions of the key k.1, or "key: versions; key: versions"
    law: Law = TIME_LAW
    quarantined: int = 0  # statements

    def loads(self, scope: Scope) -> list[list[Observation]]:
        loads = [[_observation(word, scope) for word in load.split()] for load in self.said.split("|")]
        return [
            [o if o.recorded_at else replace(o, recorded_at=number + 1) for o in load]
            for number, load in enumerate(loads)
        ]

    @property
    def has_snapshots(self) -> bool:
        return "S@" in self.said

    def observations(self, scope: Scope) -> list[Observation]:
        return [o for load in self.loads(scope) for o in load]

    def versions(self) -> dict[Key, str]:
        if not self.expected:
            return {}
        lines = [line.split(": ") for line in self.expected.split("; ")]
        return {KEY: lines[0][0]} if len(lines[0]) == 1 else {_key(key.strip()): line for key, line in lines}


def shown(versions: list[Version], law: Law) -> str:
    """The versions of one key in the notation of the table."""
    words = []
    for v in versions:
        said = dict(zip(law.columns, v.values, strict=True))
        state = "null" if said["state"] is None else said["state"]
        for mark, column in (("+", "amount"), ("&", "extra"), ("/", "note")):
            if said.get(column) is not None:
                state += f"{mark}{said[column]}"
        words.append(f"{'-' * v.is_deleted}{state}[{v.valid_from},{'' if v.valid_to is None else v.valid_to})")
    return " ".join(words)


def statements_in(said: str, scope: Scope) -> list[Statement]:
    """Free text of the notation, without snapshots."""
    return [o for o in Case("", said, "").observations(scope) if isinstance(o, Statement)]


def _observation(word: str, scope: Scope) -> Observation:
    if match := SNAPSHOT.fullmatch(word):
        rows = [row for row in match["rows"].split(",") if row]
        return Snapshot(
            scopes=frozenset([scope]),
            as_of=_number(match["at"]),
            rows=tuple((scope, *_row(row)) for row in rows if not row.startswith("?")),
            excluded=frozenset((scope, _key(row[1:])) for row in rows if row.startswith("?")),
            recorded_at=int(match["recorded"] or 0),
            sequence=None if match["sequence"] is None else int(match["sequence"]),
        )
    match = STATEMENT.fullmatch(word)
    assert match is not None, f"{word!r} is not in the notation"
    return Statement(
        scope=scope,
        key=_key(match["key"]),
        op=_op(match),
        valid_from=_number(match["at"]),
        sequence=None if match["sequence"] is None else int(match["sequence"]),
        values=_values(match),
        recorded_at=int(match["recorded"] or 0),
    )


def _op(match: re.Match[str]) -> Op:
    """`!null@5` is about the state null, `!@5` about whatever was said."""
    if match["mark"] == "!" and match["state"] == "null" and not any(_values(match)):
        return "retract_null"
    ops: dict[str, Op] = {
        "": "upsert", "-": "delete", "!": "retract", "!-": "retract_delete", "!!": "restore", "!!-": "restore_delete"
    }  # fmt: skip
    return ops[match["mark"]]


def _row(word: str) -> tuple[Key, Values]:
    match = ROW.fullmatch(word)
    assert match is not None, f"{word!r} is no row of a snapshot"
    return _key(match["key"]), _values(match)


def _key(word: str | None) -> Key:
    return KEY if word is None else tuple(word.split("."))


def _number(word: str) -> Any:
    return float(word) if "." in word else int(word)


def _values(match: re.Match[str]) -> Values:
    state = None if match["state"] in ("", "null") else match["state"]
    amount = None if match["amount"] is None else int(match["amount"])
    return state, amount, match["extra"], match["note"]


def _sequence(id: str, said: str, expected: str, *, quarantined: int = 0) -> Case:
    return Case(id, said, expected, SEQUENCE_LAW, quarantined)


def _tie_break(id: str, said: str, expected: str, *, quarantined: int = 0) -> Case:
    return Case(id, said, expected, TIE_BREAK_LAW, quarantined)


def _three_keys(id: str, said: str, expected: str) -> Case:
    return Case(id, said, expected, THREE_KEYS_LAW)


RULES: tuple[Case, ...] = (
    # intervals
    Case("one change is one open version", "A@5", "A[5,)"),
    Case("a change closes the version before it", "A@5 B@7", "A[5,7) B[7,)"),
    Case("neighbours one second apart are two versions", "A@5.25 B@5.5", "A[5.25,5.5) B[5.5,)"),
    Case("a tracked column other than the first opens a version", "A+1@5 A+2@6", "A+1[5,6) A+2[6,)"),
    # unchanged states
    Case("an unchanged state opens no version", "A@5 | A@10", "A[5,)"),
    Case("design: hidden no-ops place a late change", "A@5 A@10 A@15 | B@12", "A[5,12) B[12,15) A[15,)"),
    Case("design: late below a folded no-op", "A@5 A@10 | B@7", "A[5,7) B[7,10) A[10,)"),
    Case("late below the newest of two folded loads of no-ops", "A@5 | A@10 | B@7", "A[5,7) B[7,10) A[10,)"),
    # ties
    Case("same position and content is one change", "A@5#1 A@5#1", "A[5,)"),
    Case("same position, different content: the group is quarantined", "A@5 B@5 | C@7", "C[7,)", quarantined=2),
    Case("the rest of the key goes on without the tied group", "A@5 B@7 C@7 D@9", "A[5,9) D[9,)", quarantined=2),
    Case("a tie with a folded row takes it back", "A@5 B@7 | C@7", "A[5,)", quarantined=2),
    Case("a tie with the only folded row leaves no version", "A@5 | B@5", "", quarantined=2),
    Case("a tie of three", "Z@1 A@5 B@5 | C@5", "Z[1,)", quarantined=3),
    Case("a tie in one column only", "A+1@5 A+2@5", "", quarantined=2),
    Case("a tie of overwritten values", "A/n1@5 A/n2@5 B@6", "B[6,)", quarantined=2),
    Case("null and a value at one position are a tie", "A+1@5 A@5", "", quarantined=2),
    Case("a retract of one resolves the tie", "A@5 B@5 | !A@5", "B[5,)"),
    Case("a retract of one of three leaves a tie", "A@5 B@5 C@5 | !A@5", "", quarantined=2),
    Case("a tie below a higher sequence at the same time does no harm", "A@5#1 B@5#1 | C@5#2", "C[5,)", quarantined=2),
    Case("a tie at the higher sequence lets the lower one rule", "A@5#1 B@5#2 | C@5#2", "A[5,)", quarantined=2),
    # sequences within time
    Case("at an equal time the greatest sequence replaces the others", "A@5#1 B@5#2", "B[5,)"),
    Case("at an equal time a late lower sequence changes nothing", "A@5#2 | B@5#1", "A[5,)"),
    Case("no sequence is the lowest sequence", "A@5#0 B@5", "A[5,)"),
    Case("time goes before sequence", "A@5#9 B@7#1", "A[5,7) B[7,)"),
    # deletes
    Case("a delete leaves a tombstone with the last attributes", "A+1/n1@5 -@7", "A+1/n1[5,7) -A+1/n1[7,)"),
    Case("what a delete carries is not its state", "A@5 -B@7", "A[5,7) -A[7,)"),
    Case("deletes that carry different things are one", "A@5 | -B@7 -C@7", "A[5,7) -A[7,)"),
    Case("on time after a folded tombstone", "A@5 -@7 | B@9", "A[5,7) -A[7,9) B[9,)"),
    Case("repeated deletes are one run", "A@5 -@7 | -@9", "A[5,7) -A[7,)"),
    Case("delete and return with the same values: a tombstone between", "A@5 -@7 A@9", "A[5,7) -A[7,9) A[9,)"),
    Case("a delete of a key never seen waits in the log", "-@5", ""),
    Case("late insert before the waiting delete", "-@5 | A@3", "A[3,5) -A[5,)"),
    Case("a late delete splits a run", "A@5 A@9 | -@7", "A[5,7) -A[7,9) A[9,)"),
    Case("late below a tombstone, between the state and its end", "A@5 -@9 | B@7", "A[5,7) B[7,9) -B[9,)"),
    Case("late below a second delete of the run", "A@5 -@7 -@9 | B@8", "A[5,7) -A[7,8) B[8,9) -B[9,)"),
    Case("a late equal state between two deletes", "A@5 -@7 -@9 | A@8", "A[5,7) -A[7,8) A[8,9) -A[9,)"),
    Case("delete and upsert at one position are a tie", "A@5 | -@7 B@7", "A[5,)", quarantined=2),
    Case("delete and upsert at one time with sequences are none", "A@5 | -@7#1 B@7#2", "A[5,7) B[7,)"),
    Case("a whole life within one load", "A@5 -@7 B@9 -@11", "A[5,7) -A[7,9) B[9,11) -B[11,)"),
    # retracts
    Case("a retract removes its statement", "A@5 B@7 | !B@7", "A[5,)"),
    Case("a retract removes the first version", "A@5 B@7 | !A@5", "B[7,)"),
    Case("a retract of everything leaves no version", "A@5 | !A@5", ""),
    Case("a retract before its statement", "!B@7 | A@5 B@7", "A[5,)"),
    Case("the same statement sent again stays retracted", "A@5 B@7 | !B@7 | B@7", "A[5,)"),
    Case("a retract removes only its own content", "A@5 B@7 | !C@7", "A[5,7) B[7,)"),
    Case("a bare retract removes all that stands at its position", "A@5 B@7 C@7 | !@7", "A[5,)"),
    Case("a bare retract removes a delete", "A@5 -@7 | !@7", "A[5,)"),
    Case("a retract of a delete", "A@5 -@7 | !-@7", "A[5,)"),
    Case("a retract of a delete removes no state", "A@5 B@7 -@7 | !-@7", "A[5,7) B[7,)"),
    Case("a retract of a state removes no delete", "A@5 B@7 -@7 | !B@7", "A[5,7) -A[7,)"),
    Case("a retract of a delete before it", "!-@7 | A@5 -@7", "A[5,)"),
    Case("a retract of a delete removes no null", "A@5 null@7 | !-@7", "A[5,7) null[7,)"),
    Case("a delete is restored", "A@5 -@7 | !-@7 | !!-@7", "A[5,7) -A[7,)"),
    Case("a delete is restored after all was retracted", "A@5 B@7 -@7 | !@7 | !!-@7", "A[5,7) -A[7,)"),
    Case("a restore of a state restores no delete", "A@5 B@7 -@7 | !@7 | !!B@7", "A[5,7) B[7,)"),
    Case("a retract at another sequence removes nothing", "A@5 B@7#1 | !B@7#2", "A[5,7) B[7,)"),
    Case("a retract of null removes no other content", "null@5 A@5 | !null@5", "A[5,)"),
    Case("a retract of null removes what is null", "A@5 null@7 | !null@7", "A[5,)"),
    Case("a retract of null removes no delete", "A@5 -@7 | !null@7", "A[5,7) -A[7,)"),
    Case("a retract of null before what replaces it", "null@5 | !null@5 A@5", "A[5,)"),
    Case("a bare retract removes what is null", "A@5 null@7 | !@7", "A[5,)"),
    Case("what was retracted is restored", "A@5 B@7 | !B@7 | !!B@7", "A[5,7) B[7,)"),
    Case("restored in place of what replaced it", "A@5 | !A@5 B@5 | !B@5 !!A@5", "A[5,)"),
    Case("restored and retracted again", "A@5 B@7 | !B@7 | !!B@7 | !B@7", "A[5,)"),
    Case("what was learned last counts, not what came last", "A@5~1 B@7~1 | !!B@7~5 | !B@7~4", "A[5,7) B[7,)"),
    Case("a restore that was learned with the retract restores nothing", "A@5 B@7 | !B@7 !!B@7", "A[5,)"),
    Case("a restore restores only its own content", "A@5 B@7 C@7 | !@7 | !!B@7", "A[5,7) B[7,)"),
    Case("a restore of null", "A@5 null@7 | !null@7 | !!null@7", "A[5,7) null[7,)"),
    Case("a restore of what nobody said says it", "A@5 | !!B@7", "A[5,7) B[7,)"),
    Case("a restore restores no delete", "A@5 -@7 | !@7 | !!null@7", "A[5,7) null[7,)"),
    Case("a restored statement can contradict another", "A@5 B@7 | !B@7 C@7 | !!B@7", "A[5,)", quarantined=2),
    Case("moving a change takes a retract of the first", "A@5 B@7 | !B@7 B@9", "A[5,9) B[9,)"),
    Case("a retract between equal states joins them", "A@5 B@7 A@9 | !B@7", "A[5,)"),
    Case("a retract of a hidden no-op uncovers nothing", "A@5 A@7 B@9 | !A@7", "A[5,9) B[9,)"),
    Case("a retract of the run's first statement moves its begin", "A@5 A@7 B@9 | !A@5", "A[7,9) B[9,)"),
    Case("a retract of the higher sequence lets the lower one rule", "A@5#1 B@5#2 | !B@5#2", "A[5,)"),
    # overwritten columns
    Case("an overwritten column opens no version and shows its last value", "A/n1@5 A/n2@7", "A/n2[5,)"),
    Case("a late overwritten value is not the last", "A/n1@5 A/n3@9 | A/n2@7", "A/n3[5,)"),
    Case("an overwritten value of the next run stays there", "A/n1@5 B/n2@7", "A/n1[5,7) B/n2[7,)"),
    Case("a null overwrites too", "A/n1@5 A@7", "A[5,)"),
    Case("a late split gives each part its own overwritten value", "A/n1@5 A/n2@9 | B@7", "A/n1[5,7) B[7,9) A/n2[9,)"),
    # sequences without time
    _sequence("sequences: in order of both", "A@5#1 B@7#2", "A[5,7) B[7,)"),
    _sequence("sequences: a higher one with an earlier time hides the lower", "A@9#1 B@7#2", "B[7,)"),
    _sequence("sequences: a higher one at the same time hides the lower", "A@7#1 B@7#2", "B[7,)"),
    _sequence("sequences: hidden by one that is not the next", "A@5#1 B@9#2 C@8#3", "A[5,8) C[8,)"),
    _sequence("sequences: hidden by the last of three", "A@8#1 B@9#2 C@5#3", "C[5,)"),
    _sequence("sequences: the earliest extraction gives the time", "A@9#1 | A@5#1", "A[5,)"),
    _sequence("sequences: a later extraction of the same changes nothing", "A@5#1 B@7#2 | A@8#1", "A[5,7) B[7,)"),
    _sequence("sequences: a tie is two contents of one number", "A@5#1 B@7#2 | C@9#2", "A[5,)", quarantined=2),
    _sequence("sequences: what is tied hides nothing", "A@9#1 | B@7#2 C@7#2", "A[9,)", quarantined=2),
    _sequence("sequences: a retract needs no time", "A@5#1 B@7#2 | !B@99#2", "A[5,)"),
    _sequence("sequences: a restore needs no time", "A@5#1 B@7#2 | !B@7#2 | !!B@99#2", "A[5,7) B[7,)"),
    _sequence("sequences: what is retracted hides nothing", "A@9#1 B@7#2 | !B@7#2", "A[9,)"),
    _sequence("sequences: behind a retracted one, before what it hid", "A@6#1 B@5#2 | !B@5#2 | C@5.5#3", "C[5.5,)"),
    _sequence("sequences: no number is the lowest, whatever comes with it", "A@5#1 | C@7 B@8#2", "A[5,8) B[8,)"),
    _sequence("sequences: a delete by its number", "A@5#1 | -@7#2 | A@9#3", "A[5,7) -A[7,9) A[9,)"),
    _sequence("sequences: a snapshot below a higher number, which is taken back", "A@5#1 B@6#9 | S@10{B}#5 | !B@6#9",
              "A[5,10) B[10,)"),
    _sequence("sequences: a higher number from before the last snapshot", "A@5#1 | S@11{A}#6 | C@9#7 | S@12{A}#8",
              "A[5,9) C[9,12) A[12,)"),
    # tie-break columns (note is one: the greater note goes last)
    _tie_break("tie-break: the greater one rules", "A/n1@5 B/n2@5", "B/n2[5,)"),
    _tie_break("tie-break: in any order", "B/n2@5 | A/n1@5", "B/n2[5,)"),
    _tie_break("tie-break: null is the lowest", "A/n1@5 | B@5", "A/n1[5,)"),
    _tie_break("tie-break: still a tie when it is equal", "Z@1 | A/n1@5 B/n1@5", "Z[1,)", quarantined=2),
    _tie_break("tie-break: sequence goes first", "A/n9@5#1 B/n1@5#2", "B/n1[5,)"),
    # snapshots
    Case("a snapshot opens what it shows", "S@5{A}", "A[5,)"),
    Case("an unchanged snapshot opens nothing", "S@5{A} | S@7{A}", "A[5,)"),
    Case("absence in a snapshot deletes", "S@5{A} | S@7{}", "A[5,7) -A[7,)"),
    Case("an excluded key is neither deleted nor changed", "S@5{A} | S@7{?k.1}", "A[5,)"),
    Case("a good row of an excluded key is left out too", "S@5{A} | S@7{B,?k.1}", "A[5,)"),
    Case("and holds once it stands alone", "S@5{A} | S@7{B,?k.1} | S@9{B}", "A[5,9) B[9,)"),
    Case("nor does it open a version", "S@5{a.b:A,B,?k.1} | S@7{a.b:A}", "a.b: A[5,)"),
    Case("design: a late snapshot in between: A, B, A", "S@1{A} | S@5{A} | S@3{B}", "A[1,3) B[3,5) A[5,)"),
    Case("a late snapshot without the key: gone and back", "S@1{A} | S@5{A} | S@3{}", "A[1,3) -A[3,5) A[5,)"),
    Case("a late snapshot before the first", "S@5{A} | S@3{B}", "B[3,5) A[5,)"),
    Case("a late equal snapshot moves the begin", "S@5{A} | S@3{A}", "A[3,)"),
    Case("a late change below a snapshot that did not alter the key", "A@1 | S@5{A} | B@3", "A[1,3) B[3,5) A[5,)"),
    Case("a late change below an absence", "a.b:A@1 | S@5{a.b:A} | k.1:B@3", "a.b: A[1,); k.1: B[3,5) -B[5,)"),
    Case("absence deletes only what is before it", "A@7 | S@5{}", "A[7,)"),
    Case("a late delete below an unchanged snapshot", "A@1 | S@5{A} | -@3", "A[1,3) -A[3,5) A[5,)"),
    Case("a retract below a snapshot: the snapshot still says it", "A@1 | S@5{A} | !A@1", "A[5,)"),
    Case("a retract of what the snapshot found changed", "A@1 B@3 | S@5{B} | !B@3", "A[1,5) B[5,)"),
    Case("a tie below a snapshot: the snapshot still says it", "A@1 B@3 | S@5{B} | C@3", "A[1,5) B[5,)", quarantined=2),
    Case("a change below a snapshot that left the key out", "A@1 | S@5{?k.1} | B@3", "A[1,3) B[3,)"),
    Case("past a snapshot that left the key out", "a.b:A@1 | S@3{a.b:A,?k.1} | S@5{a.b:A} | k.1:B@2",
         "a.b: A[1,); k.1: B[2,5) -B[5,)"),
    Case("a snapshot at the very time of a change is a tie", "A@1 B@5 | S@5{A}", "A[1,)", quarantined=2),
    Case("a change at the very time of a snapshot is a tie", "A@1 | S@5{A} | B@5", "A[1,)", quarantined=2),
    Case("a change at the snapshot's time that says the same", "A@1 | S@5{B} | B@5", "A[1,5) B[5,)"),
    Case("a change with a sequence goes after the snapshot of that time", "A@1 | S@5{A} | B@5#1", "A[1,5) B[5,)"),
    Case("a late change between two unchanged snapshots", "S@1{A} | S@3{A} | S@5{A} | B@2", "A[1,2) B[2,3) A[3,)"),
    Case("overwritten only: a snapshot's new note", "S@1{A/n1} | S@3{A/n2}", "A/n2[1,)"),
    Case("overwritten only: a late snapshot's note is not the last", "S@1{A/n1} | S@5{A/n3} | S@3{A/n2}", "A/n3[1,)"),
)  # fmt: skip

# reference/scd2.md, "Pitfalls list for our tests": each is a bug of some system in use
PITFALLS: tuple[Case, ...] = (
    Case("A to B to A", "A@1 | B@3 | A@5", "A[1,3) B[3,5) A[5,)"),
    Case("delete, then reappear identical", "A@1 | -@3 | A@5", "A[1,3) -A[3,5) A[5,)"),
    Case("delete before insert", "-@5 | A@1", "A[1,5) -A[5,)"),
    Case("late row before first version", "B@5 | A@1", "A[1,5) B[5,)"),
    Case("late row equal to the neighbour above merges", "A@5 | A@3", "A[3,)"),
    Case("late row equal to the neighbour below merges", "A@1 B@5 | A@3", "A[1,5) B[5,)"),
    Case("two versions in the same batch", "A@1 | B@3 C@5", "A[1,3) B[3,5) C[5,)"),
    Case("exact replay", "A@1 B@3 | A@1 B@3", "A[1,3) B[3,)"),
    Case("replay after partial crash", "A@1 | A@1 B@3 | A@1 B@3 C@5", "A[1,3) B[3,5) C[5,)"),
    Case("tie of upsert and delete", "A@1 B@3 | -@3", "A[1,)", quarantined=2),
    Case("null to value", "A@1 | A+1@3", "A[1,3) A+1[3,)"),
    Case("value to null", "A+1@1 | A@3", "A+1[1,3) A[3,)"),
    Case("null to null is no change", "null@1 | null@3", "null[1,)"),
    Case("concatenated keys collide", "a.bc:A@1 ab.c:B@1 | ab.c:C@3", "a.bc: A[1,); ab.c: B[1,3) C[3,)"),
    Case("concatenated values collide in hashes", "x@1 | null&x@3", "x[1,3) null&x[3,)"),
    Case("the end of the last version is null, no sentinel date", "A@1 B@87672", "A[1,87672) B[87672,)"),
    Case("new column must not re-version all", "A@1 a.b:A@1 | A@3 a.b:A&x@3", "k.1: A[1,); a.b: A[1,3) A&x[3,)"),
    Case("an empty snapshot, accepted, closes everything, keeps tombstones", "S@1{A,a.b:B} | S@3{}",
         "k.1: A[1,3) -A[3,); a.b: B[1,3) -B[3,)"),
    Case("snapshot out of order", "S@5{B} | S@1{A}", "A[1,5) B[5,)"),
    Case("updated_at lower than the existing start", "A@5 | B@3", "B[3,5) A[5,)"),
    Case("unchanged rows are not treated as absent", "S@1{A,a.b:B} | S@3{A,a.b:C}", "k.1: A[1,); a.b: B[1,3) C[3,)"),
    Case("concatenated keys collide in snapshots", "S@1{a.bc:A,ab.c:A} | S@3{ab.c:A} | a.bc:B@2",
         "a.bc: A[1,2) B[2,3) -B[3,); ab.c: A[1,)"),
    Case("duplicate key in a snapshot, the same content", "S@1{A,A} | S@3{A,A}", "A[1,)"),
    Case("duplicate key in a snapshot, different content", "S@1{Z} | S@3{A,B} | S@5{A}", "Z[1,5) A[5,)", quarantined=2),
    Case("duplicate key in the first snapshot", "S@1{A,B} | S@3{B}", "B[3,)", quarantined=2),
    Case("duplicate key in two equal snapshots, a late change between", "S@1{Z} | S@3{A,B} | S@5{A,B} | C@4",
         "Z[1,4) C[4,)", quarantined=4),
    Case("a key that was twofold is absent from the next snapshot", "S@1{Z} | S@3{A,B} | S@5{}", "Z[1,5) -Z[5,)",
         quarantined=2),
    _sequence("tie of upsert and delete by sequence", "A@5#1 | B@7#2 | -@7#2", "A[5,)", quarantined=2),
    _sequence("a delete of a higher sequence at an equal time", "A@5#1 | B@7#2 -@7#3 | C@9#4", "A[5,7) -A[7,9) C[9,)"),
    _three_keys("three key columns: parts that run together", "a.b.c:A@1 ab.c.:B@1 a.bc.:C@1 | a.bc.:D@3 ab.c.:-@3",
                "a.b.c: A[1,); ab.c.: B[1,3) -B[3,); a.bc.: C[1,3) D[3,)"),
    _three_keys("three key columns in snapshots", "S@1{a.b.c:A,a.b.d:A,b.a.c:A} | S@3{a.b.c:A,b.a.c:B} | a.b.d:C@2",
                "a.b.c: A[1,); a.b.d: A[1,2) C[2,3) -C[3,); b.a.c: A[1,3) B[3,)"),
)  # fmt: skip

CASES = RULES + PITFALLS


def world_of(cases: Sequence[Case], law: Law) -> tuple[World, dict[Identity, str]]:
    """The cases side by side in one table, load by load, and the case of each identity.

    A case with snapshots has a scope of its own; the others share three scopes, each with keys of its own.
    """
    heard: dict[str, Batch | Picture] = {}
    owner: dict[Identity, str] = {}
    loads = max(len(case.loads(("", ""))) for case in cases)
    for number in range(loads):
        statements: list[Statement] = []
        pictures: dict[tuple[Any, Any], list[Snapshot]] = {}
        for position, case in enumerate(cases):
            scope = scope_of(position if case.has_snapshots else 900 + position % 3)
            prefix = "" if case.has_snapshots else str(position)
            for said in case.loads(scope)[number : number + 1]:
                for observation in said:
                    if isinstance(observation, Statement):
                        first, *others = observation.key
                        statements.append(replace(observation, key=(f"{prefix}{first}", *others)))
                    else:
                        pictures.setdefault((observation.as_of, observation.sequence), []).append(observation)
            for key in {s.key for s in statements if s.scope == scope and s.key[0].startswith(prefix)}:
                owner.setdefault((scope, key), case.id)
            owner.update({(scope, key): case.id for key in case.versions() if case.has_snapshots})
        if statements:
            heard[f"changes-{number}"] = Batch(f"changes-{number}", tuple(statements))
        for (as_of, sequence), parts in pictures.items():
            name = f"snapshot-{number}-{as_of}"
            heard[name] = Picture(name, _together(parts, as_of, sequence, recorded_at=number + 1))
    steps = [Step("arrive", name) for name in heard]
    return World(law, tuple(scope_of(n) for n in range(len(cases))), heard, tuple(steps)), owner


def _together(parts: list[Snapshot], as_of: Any, sequence: Any, *, recorded_at: int) -> Snapshot:
    return Snapshot(
        scopes=frozenset(scope for part in parts for scope in part.scopes),
        as_of=as_of,
        rows=tuple(row for part in parts for row in part.rows),
        excluded=frozenset(identity for part in parts for identity in part.excluded),
        recorded_at=recorded_at,
        sequence=sequence,
    )
