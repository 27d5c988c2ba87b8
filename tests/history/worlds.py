"""Many small histories as the scopes of one table, and the order in which the table hears of them.

A history is what one scope's source says in its life: a few keys, a dozen statements, some snapshots. A world puts many
of them side by side, so that one commit serves them all, and adds a schedule: batches and snapshots in any order, folds
and reads at any moment, replays, a column that appears half way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

from . import oracle
from .oracle import Key, Law, Observation, Op, Scope, Snapshot, Statement, Values

# ("a", "bc") and ("ab", "c") are one key to whoever concatenates
KEYS: tuple[Key, ...] = (("a", "bc"), ("ab", "c"), ("a", "b"), ("b", "a"))
TIMES = 12
SHARE = {"duplicate": 0.15, "delete": 0.26, "tie": 0.05, "retract": 0.07, "sequel": 0.07}  # deletes: of what is left
TRACKED = ("state", "amount", "extra")
TIME_LAW = Law(keys=("k1", "k2"), tracked=TRACKED, overwritten=("note",))
SEQUENCE_LAW = replace(TIME_LAW, domain="sequence")
TIE_BREAK_LAW = replace(TIME_LAW, tie_break=("note",))
THREE_KEYS_LAW = replace(TIME_LAW, keys=("k1", "k2", "k3"))


@dataclass(frozen=True, slots=True)
class Batch:
    """One manifest of changes; everything in it was recorded at the same time."""

    name: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """One manifest that is a snapshot of some scopes."""

    name: str
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Step:
    """arrive: hear a manifest (a second time = replay); park: a snapshot is judged and does not come in yet; fold;
    read: compare everything with the oracle; column: the contract has one more."""

    kind: str  # "arrive" | "park" | "fold" | "read" | "column"
    manifest: str = ""


@dataclass(frozen=True, slots=True)
class World:
    law: Law
    scopes: tuple[Scope, ...]
    manifests: dict[str, Batch | Picture]
    steps: tuple[Step, ...] = field(default=())

    def observations(self, names: Sequence[str] | None = None) -> list[Observation]:
        result: list[Observation] = []
        for name in dict.fromkeys(self.manifests if names is None else names):
            manifest = self.manifests[name]
            result.extend(manifest.statements if isinstance(manifest, Batch) else [manifest.snapshot])
        return result

    def only(self, scopes: frozenset[Scope]) -> World:
        """The same world with fewer scopes, for telling what failed."""
        kept: dict[str, Batch | Picture] = {}
        for name, manifest in self.manifests.items():
            if isinstance(manifest, Batch):
                kept[name] = replace(manifest, statements=tuple(s for s in manifest.statements if s.scope in scopes))
            else:
                kept[name] = Picture(name, narrowed(manifest.snapshot, scopes))
        return replace(self, scopes=tuple(s for s in self.scopes if s in scopes), manifests=kept)


def narrowed(snapshot: Snapshot, scopes: frozenset[Scope]) -> Snapshot:
    return replace(
        snapshot,
        scopes=snapshot.scopes & scopes,
        rows=tuple(row for row in snapshot.rows if row[0] in scopes),
        excluded=frozenset(identity for identity in snapshot.excluded if identity[0] in scopes),
    )


def keys_of(history: int) -> tuple[Key, ...]:
    """Every history has keys of its own, so that several can share a scope and its snapshots."""
    return tuple((f"{history}{first}", second) for first, second in KEYS)


def scope_of(number: int) -> Scope:
    return ("ES", "IT", "PT")[number % 3], f"e{number:03d}"


def values(draw: Random, law: Law, *, generation: int) -> Values:
    """A state out of very few, so that equal neighbours, returns and ties are common; nulls are values."""
    state = draw.choice(("A", "A", "B", None))
    amount = draw.choice((1, 1, 1, 2, None))
    extra = draw.choice((None, None, "x")) if generation else None
    return (state, amount, extra, draw.choice(("n1", "n2", None)))[: len(law.columns)]


def statements(draw: Random, scope: Scope, own: Sequence[Key], law: Law, batches: int) -> list[tuple[int, Statement]]:
    """What one source says, and with which batch each statement arrives. Later batches know the new column."""
    keys = draw.sample(own, min(draw.randint(1, 3), len(own)))
    nothing: Values = (None,) * len(law.columns)
    said: list[tuple[int, Statement]] = []
    for number in range(draw.randint(4, 14)):
        batch = draw.randrange(batches)
        generation = int(batch >= batches // 2)
        roll = draw.random()
        model = draw.choice(said)[1] if said else None
        if model is not None and any(v is not None for v in model.values[2:3]) and not generation:
            model = None  # an old batch cannot repeat what has the new column
        if model is not None and roll < (edge := SHARE["duplicate"]):
            moved = model
            if law.domain == "sequence" and draw.random() < 0.5:
                moved = replace(model, valid_from=draw.randrange(TIMES))  # the same change extracted at another time
            said.append((batch, moved))
        elif model is not None and roll < (edge := edge + SHARE["tie"]):
            other = replace(model, op="upsert", values=values(draw, law, generation=generation))
            said.append((batch, other))
            if draw.random() < 0.4:
                said.append((draw.randrange(batch, batches), replace(other, op="retract")))
        elif model is not None and roll < (edge := edge + SHARE["retract"]):
            content = nothing if draw.random() < 0.3 else model.values
            is_of_delete = oracle.content(model) == ("delete",)
            retract: Op = "retract"
            if content is model.values and is_of_delete:
                retract = "retract_delete"
            elif content is model.values and not any(content):
                retract = "retract_null"
            said.append((batch, replace(model, op=retract, values=content)))
            if not oracle.is_retract(model) and draw.random() < 0.4:
                restored: Op = "restore_delete" if is_of_delete else "restore"
                said.append((draw.randrange(batch, batches), replace(model, op=restored)))
        elif model is not None and model.sequence is not None and roll < edge + SHARE["sequel"]:
            sequel = values(draw, law, generation=generation)
            said.append((batch, replace(model, op="upsert", sequence=model.sequence + 1, values=sequel)))
        else:
            deleted = draw.random() < SHARE["delete"]
            sequence = number * 10 if law.domain == "sequence" else draw.choice((None, None, 0, 1))
            content = values(draw, law, generation=generation)
            said.append(
                (
                    batch,
                    Statement(
                        scope=scope,
                        key=draw.choice(keys),
                        op="delete" if deleted else "upsert",
                        valid_from=draw.randrange(TIMES),
                        sequence=sequence,
                        values=nothing if deleted and draw.random() < 0.8 else content,
                    ),
                )
            )
    return said


def world(draw: Random, law: Law, *, seeds: Sequence[int], scopes: int, batches: int = 4, pictures: int = 2) -> World:
    """Manifests of a world without a schedule, one history per seed. Every third scope hears changes only."""
    places = tuple(scope_of(number) for number in range(scopes))
    histories = [(Random(seed), places[number % scopes], keys_of(number)) for number, seed in enumerate(seeds)]
    arriving: dict[int, list[Statement]] = {number: [] for number in range(batches)}
    for own, scope, keys in histories:
        for batch, statement in statements(own, scope, keys, law, batches):
            arriving[batch].append(replace(statement, recorded_at=1 + batch))
    manifests: dict[str, Batch | Picture] = {
        f"changes-{number}": Batch(f"changes-{number}", tuple(said)) for number, said in arriving.items()
    }
    for number, moment in enumerate(draw.sample(range(1, TIMES), pictures)):
        present = frozenset(place for position, place in enumerate(places) if position % 3 and draw.random() < 0.8)
        rows: list[tuple[Scope, Key, Values]] = []
        excluded: set[tuple[Scope, Key]] = set()
        for own, scope, keys in histories:
            for key in keys[: own.randint(1, len(keys))] if scope in present else ():
                is_excluded = own.random() < 0.1
                if is_excluded:
                    excluded.add((scope, key))
                if own.random() < (0.4 if is_excluded else 0.6):  # a key may have a rejected row and a good one
                    rows.append((scope, key, values(own, law, generation=0)))
        manifests[f"snapshot-{number}"] = Picture(
            f"snapshot-{number}",
            Snapshot(
                scopes=present,
                as_of=moment,
                rows=tuple(rows),
                excluded=frozenset(excluded),
                recorded_at=20 + number,
                sequence=moment * 12 + 5 if law.domain == "sequence" else None,
            ),
        )
    return World(law=law, scopes=places, manifests=manifests)


def shares(a_world: World) -> tuple[float, float]:
    """Of all statements in the batches: how many are deletes, how many say again what was said."""
    said = [s for m in a_world.manifests.values() if isinstance(m, Batch) for s in m.statements]
    by_sequence = a_world.law.domain == "sequence"
    distinct = {replace(s, recorded_at=0, valid_from=0 if by_sequence else s.valid_from) for s in said}
    return sum(s.op == "delete" for s in said) / len(said), 1 - len(distinct) / len(said)
