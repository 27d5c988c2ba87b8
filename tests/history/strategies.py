"""Hypothesis strategies: worlds of many histories, and the schedule by which a table hears of them."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import strategies as st

from .oracle import Law, Statement
from .worlds import Batch, Picture, Step, World, statements, world

SEEDS = st.integers(min_value=0, max_value=2**32 - 1)


@st.composite
def lives(draw: st.DrawFn, law: Law) -> list[Statement]:
    """The statements of one history, for properties of the oracle itself."""
    return [s for _, s in statements(Random(draw(SEEDS)), ("ES", "e000"), (("a", "b"),), law, 2)]


def scheduled(seed: int, law: Law, *, histories: int, scopes: int, pictures: int = 2) -> World:
    """A world with its schedule. All of it comes of one drawn seed: what is worth shrinking is a life, not a world."""
    random = Random(f"{law.domain} {seed}")
    seeds = [random.randrange(2**32) for _ in range(histories)]
    made = world(random, law, seeds=seeds, scopes=scopes, pictures=pictures)
    return replace(made, steps=tuple(schedule(random, made)))


def schedule(random: Random, made: World) -> list[Step]:
    """Manifests in any order, folds and reads at any moment, replays of what was heard; a new column half way; a
    snapshot that is parked and comes in when others were heard.

    What has the new column arrives after it; what is older may arrive at any time.
    """
    order = random.sample(sorted(made.manifests), len(made.manifests))
    if made.law.domain == "time":  # the latest picture first: late snapshots are rare otherwise
        pictures = sorted(_moments(made), key=lambda name: -_moments(made)[name])
        latest_first = iter(pictures)
        order = [next(latest_first) if name in pictures else name for name in order]
    batches = sum(isinstance(m, Batch) for m in made.manifests.values())
    newer = {f"changes-{number}" for number in range(batches // 2, batches)}
    between = ["fold", "fold", "replay", "replay"]
    between += ["nothing"] * (len(order) - len(between))
    random.shuffle(between)
    steps: list[Step] = []
    for position, (name, after) in enumerate(zip(order, between, strict=True)):
        if name in newer and not any(step.kind == "column" for step in steps):
            steps.append(Step("column"))
        steps.append(Step("arrive", name))
        if after == "replay":
            steps.append(Step("arrive", random.choice(order[: position + 1])))
        elif after != "nothing":
            steps.append(Step(after))
    first = {name: steps.index(Step("arrive", name)) for name in order}
    accepted = max(first[name] for name in _moments(made))
    before = [place for place in first.values() if place < accepted]
    if len(before) > 1:  # so that one manifest at least comes in while it waits
        steps.insert(random.randint(min(before) + 1, max(before)), Step("park", steps[accepted].manifest))
    return [*steps, Step("read"), Step("fold")]


def _moments(made: World) -> dict[str, int]:
    """When each picture was taken."""
    return {name: m.snapshot.as_of for name, m in made.manifests.items() if isinstance(m, Picture)}
