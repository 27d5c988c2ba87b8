"""What somebody asks about: everything, or one table with what it is loaded from."""

from __future__ import annotations

from dataclasses import dataclass

from varve.config import Config, Dataset
from varve.config.problems import did_you_mean, listed
from varve.model.errors import UsageError


@dataclass(frozen=True, slots=True)
class Asked:
    """datasets: with their bronze tables; is_all: nothing was left out."""

    datasets: tuple[Dataset, ...]
    entities: tuple[str, ...]
    marts: tuple[str, ...]
    is_all: bool = True

    def has(self, table: str | None) -> bool:
        """Whether a table is among them that is named with its layer, as the ledger and the leases do."""
        layer, _, name = (table or "").partition(".")
        if layer in ("raw", "bronze"):
            return any(one.table == name for one in self.datasets)
        return name in {"silver": self.entities, "gold": self.marts}.get(layer, ())


def asked(config: Config, table: str | None) -> Asked:
    """table: a dataset, an entity or a mart, named with its layer or without; None: everything.

    With an entity comes what feeds it. UsageError when there is no such table."""
    every = Asked(tuple(config.datasets()), config.entities(), tuple(mart.table for mart in config.transforms.marts))
    if table is None:
        return every
    layer, _, name = table.rpartition(".")
    wanted = {name} if layer in ("", "raw", "bronze") else set()
    entities = tuple(one for one in every.entities if one == name and layer in ("", "silver"))
    for entity in entities:
        wanted |= {feed.bronze for feed in config.silver_contract(entity).feeds}
    datasets = tuple(one for one in every.datasets if one.table in wanted)
    marts = tuple(one for one in every.marts if one == name and layer in ("", "gold"))
    if not (datasets or entities or marts):
        known = sorted({*(one.table for one in every.datasets), *every.entities, *every.marts})
        raise UsageError(
            f"there is no table {table}", where="--table", expected=f"one of {listed(known)}",
            remedy=did_you_mean(name, known),
        )  # fmt: skip
    return Asked(datasets, entities, marts, is_all=False)
