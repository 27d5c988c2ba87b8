"""Drives the engine's store through a world, and says where it differs from the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from pyspark.sql import DataFrame, SparkSession

from varve import history
from varve.history_table import HistoryTable, folding, pending
from varve.history_table.folding import Fold
from varve.history_table.snapshot_log import Snapshot
from varve.history_table.snapshots import Comparison
from varve.model.scope import Scope
from varve.storage import plain
from varve.storage.delta import Store

from . import oracle
from .frames import (
    batch_of,
    changes_frame,
    difference,
    entity_schema,
    held_by,
    identities_frame,
    moment,
    policy_of,
    rows_frame,
    side_by_side,
    told,
    versions_of,
)
from .oracle import Identity, Version
from .worlds import Batch, Picture, Step, World

ENTITY = "subject"


class Engine:
    """One table that hears of a world, step by step."""

    def __init__(self, spark: SparkSession, root: str, world: World, *, late_column: str | None = None) -> None:
        self.spark, self.world = spark, world
        self.store = Store(lambda: spark, root)
        self.heard: list[str] = []
        self.turns = 0
        self.without: tuple[str, ...] = (late_column,) if late_column else ()

    @property
    def table(self) -> HistoryTable:
        law = self.world.law
        policy, schema = policy_of(law, without=self.without), entity_schema(law, without=self.without)
        return HistoryTable(self.store, ENTITY, policy, schema=schema)

    def take(self, step: Step) -> None:
        if step.kind == "arrive":
            self.hear(step.manifest)
        elif step.kind == "park":
            self.park(step.manifest)
        elif step.kind == "column":
            self.without = ()
        elif step.kind == "fold":
            self.check(self.folded(), f"the versions after a fold, having heard {self.heard}")
        else:
            self.check(self.read(), f"read, having heard {self.heard}")

    def read(self) -> DataFrame:
        with self.path():
            return self.table.read()

    def fold(self) -> Fold:
        with self.path():
            return self.table.fold()

    def folded(self) -> DataFrame:
        self.fold()
        return self.table.versions()

    @contextmanager
    def path(self) -> Iterator[None]:
        """By turns the path of great tables and of small ones, which computes touched keys anew."""
        self.turns += 1
        if self.turns % 2 == 0:
            yield
        else:
            with self.great():
                yield

    @contextmanager
    def great(self) -> Iterator[None]:
        """The path of great tables: Delta reads them, open rows go on, and one MERGE exchanges what changes."""
        with (
            patch.object(pending, "REWRITE_BELOW_ROWS", 0),
            patch.object(folding, "REWRITE_ABOVE_SHARE", 2),
            patch.object(plain, "MOST_FILES", 0),
        ):
            yield

    def hear(self, name: str) -> None:
        """Log what a manifest says; what the log holds already is left out, as every load leaves it out."""
        manifest = self.world.manifests[name]
        if name not in held_by(self.table):
            batch = batch_of(self.table, name)
            if isinstance(manifest, Batch):
                said, law = manifest.statements, self.world.law
                frame = changes_frame(self.spark, said, law, manifest=name, without=self.without)
                self.table.append(frame, batch)
            else:
                self.table.append_snapshot(self.compared(manifest), batch)
        self.heard.append(name)

    def park(self, name: str) -> None:
        """Judge a snapshot as the guard does, and let it wait: nothing of it may be left."""
        picture, before = self.world.manifests[name], self.store.version("silver", f"{ENTITY}_changes")
        assert isinstance(picture, Picture)
        comparison = self.compared(picture)
        if comparison.changes is not None:
            comparison.changes.unpersist()
        assert self.store.version("silver", f"{ENTITY}_changes") == before

    def compared(self, picture: Picture) -> Comparison:
        said, law = picture.snapshot, self.world.law
        as_of, recorded_at = moment(said.as_of), moment(said.recorded_at)
        assert as_of is not None
        assert recorded_at is not None
        snapshot = Snapshot(
            manifest=picture.name,
            scopes=tuple(Scope(*scope) for scope in sorted(said.scopes)),
            as_of=as_of,
            recorded_at=recorded_at,
            sequence=said.sequence,
            contract_version="1",
        )
        excluded = identities_frame(self.spark, said.excluded, law) if said.excluded else None
        return self.table.compare(rows_frame(self.spark, said.rows, law, without=self.without), snapshot, excluded)

    # --- comparing ---------------------------------------------------------------------------------------------------

    def expected(self) -> dict[Identity, list[Version]]:
        return oracle.versions(self.world.observations(self.heard), self.world.law)

    def check(self, frame: DataFrame, what: str) -> None:
        """Row for row; `recorded_at` only where there are no snapshots: what is re-asserted when is book-keeping."""
        law = self.world.law
        expected, got = self.expected(), versions_of(frame, law)
        wrong = self.wrong(expected, got)
        if wrong:
            identity = min(wrong, key=lambda i: len(oracle.lives(self.said_in(i[0]), law).get(i, [])))
            raise AssertionError(self.report(what, identity, expected.get(identity, []), got.get(identity, []), wrong))

    def wrong(self, expected: dict[Identity, list[Version]], got: dict[Identity, list[Version]]) -> list[Identity]:
        """The identities in which they differ."""
        pictures = [m.snapshot for m in self.world.manifests.values() if isinstance(m, Picture)]
        pictured = {scope for snapshot in pictures for scope in snapshot.scopes}
        return difference(expected, got, recorded=False) or difference(
            {i: v for i, v in expected.items() if i[0] not in pictured},
            {i: v for i, v in got.items() if i[0] not in pictured},
        )

    def said_in(self, scope: oracle.Scope) -> list[oracle.Observation]:
        return self.world.only(frozenset([scope])).observations(self.heard)

    def report(
        self, what: str, identity: Identity, expected: list[Version], got: list[Version],
        wrong: list[Identity],
    ) -> str:  # fmt: skip
        lines = [f"{what}: {len(wrong)} keys are wrong; the shortest life is that of {identity}:"]
        for name in dict.fromkeys(self.heard):
            life = oracle.lives(self.world.only(frozenset([identity[0]])).observations(self.heard), self.world.law)
            told_by = [s for s in life.get(identity, []) if self._is_by(name, s)]
            if told_by:
                lines.append(f"  {name}:\n{told(told_by)}")
        return "\n".join([*lines, side_by_side(expected, got)])

    def _is_by(self, name: str, statement: oracle.Statement) -> bool:
        manifest = self.world.manifests[name]
        recorded = manifest.snapshot.recorded_at if isinstance(manifest, Picture) else int(name.split("-")[1]) + 1
        return bool(recorded == statement.recorded_at)

    def check_log(self) -> None:
        """The law over the whole log gives what the oracle gives, and the audit has nothing to say."""
        self.check(history.timeline(self.table.log(), self.table.policy), "timeline of the log")
        findings = self.table.audit().collect()
        assert not findings, findings[:5]
