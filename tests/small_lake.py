"""A small lake made without Spark: extracts by the landing zone, tables by delta-rs, rows by the ledger."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import deltalake
import msgspec
import pyarrow as pa
from pyspark.sql.types import LongType, StructField, StructType

from conftest import PYTHONPATH
from varve import config
from varve.framing import FramedRecord
from varve.model.errors import VarveError
from varve.ops.ledger import Ledger
from varve.raw import Manifest, Origin, publishing
from varve.raw.batch import Batch, Load, transaction
from varve.run.run import Run
from written_conf import write, write_contract

DAY: Final = datetime(2026, 3, 1, tzinfo=UTC)
SCOPE: Final = "ES/iberia1"
KEY: Final = {
    "name": "ticket_id",
    "physicalType": "bigint",
    "primaryKey": True,
    "primaryKeyPosition": 1,
    "required": True,
}
CITY: Final = {"name": "city", "physicalType": "string"}
_SCHEMA: Final = StructType([StructField("n", LongType())])


@dataclass(frozen=True, slots=True)
class SmallLake:
    """A shop that delivers tickets, which feed an entity, and visits, which feed none."""

    root: Path

    @classmethod
    def at(cls, root: Path, **ticket: object) -> SmallLake:
        """ticket: more options of the tickets."""
        conf = root / "conf"
        files = {"format": "csv", "declared_date": r"(\d{4}-\d{2}-\d{2})", "mode": "snapshot"}
        datasets = {
            "ticket": {"contract": "shop_ticket", "path": "ticket_*.csv", **files, **ticket},
            "visit": {"contract": "shop_visit", "path": "visit_*.csv", **files},
        }
        scope = {"country": "ES", "entity": {"path": "^[a-z]+_([a-z0-9]+)_"}}
        source = {"source": "shop", "kind": "files", "root": "incoming", "scope": scope, "datasets": datasets}
        write(conf, "sources/shop.yml", source)
        write_contract(conf, "shop_ticket", {"layer": "bronze"}, [KEY, CITY])
        write_contract(conf, "shop_visit", {"layer": "bronze"}, [KEY, CITY])
        write_contract(
            conf, "ticket", {"layer": "silver", "history": {}, "feeds": [{"bronze": "shop_ticket"}]}, [KEY, CITY]
        )
        return cls(root)

    @property
    def place(self) -> Path:
        return self.root / "lake"

    def lake(self) -> Run:
        """As a run that is just starting has it."""
        return Run(config.load(self.root / "conf", lake=str(self.place)), job="status")

    def land(
        self,
        day: int,
        *,
        dataset: str = "ticket",
        entity: str = "iberia1",
        parked: str | None = None,
        columns: Sequence[str] = ("ticket_id", "city"),
    ) -> Manifest:
        """Publish the extract of a day. parked: why nobody can use it."""
        at = DAY.replace(day=day)
        dataset_of = self.lake().raw("shop", dataset)
        number = dataset_of.numbers.last() + 1
        name = f"{dataset}_{entity}_{at:%Y-%m-%d}.csv"
        draft = Manifest(
            id=f"{dataset}{number}", source="shop", dataset=dataset, contract=f"shop_{dataset}", scope_country="ES",
            scope_entity=entity, mode="snapshot", as_of=at, declared=f"{at:%Y-%m-%d}", origin=Origin(path=name),
            started_at=datetime.now(UTC), landed_at=at, complete=True, columns=tuple(columns), rows=1,
            scopes={f"ES/{entity}": 1},
        )  # fmt: skip
        if parked:
            draft = msgspec.structs.replace(draft, status="parked", reason=parked)
        with publishing(dataset_of) as publisher, publisher.landing(draft) as landing:
            landing.frame([FramedRecord(1, "1,Vigo", ("1", "Vigo"))], list(columns))
            return landing.publish(draft)

    def bronze(self, *extracts: Manifest, run: str = "") -> int:
        """Commit these extracts to the bronze table of their dataset; returns the version."""
        return self._commit("bronze", extracts[0].table, [Load(m.table, m.number, m.id) for m in extracts], run)

    def silver(self, *extracts: Manifest, run: str = "") -> int:
        """Commit these extracts to the log of the entity; returns the version."""
        return self._commit("silver", "ticket_changes", [Load(m.table, m.number, m.id) for m in extracts], run)

    def _commit(self, layer: str, table: str, held: Sequence[Load], run: str) -> int:
        store = self.lake().store
        if not store.exists(layer, table):
            empty = pa.table({"n": pa.array([], pa.int64())})
            deltalake.write_deltalake(store.path(layer, table), empty)
        txn = transaction(layer, table)
        batch = Batch((store.transaction(layer, table, txn) or 0) + 1, tuple(held), run)
        note = {"kind": "load", **batch.note()}
        commit = store.append_few([(1,)], _SCHEMA, layer, table, txn=txn, version=batch.number, note=note)
        assert commit.version is not None
        return commit.version

    @contextmanager
    def run(self, run_id: str, job: str = "daily") -> Iterator[Ledger]:
        """The ledger of a run; what is raised in it, ends it."""
        with closing(Ledger(self.place, run_id=run_id, job=job)) as book, suppress(VarveError):
            yield book

    def killed(self, run_id: str, *work: str) -> None:
        """A run of another process that is killed after it did this."""
        lines = [
            "import os, signal", "from pathlib import Path", "from varve.ops.ledger import Ledger",
            f"book = Ledger(Path({str(self.place)!r}), run_id={run_id!r}, job='daily')", *work,
            "    os.kill(os.getpid(), signal.SIGKILL)",
        ]  # fmt: skip
        environment = os.environ | {"PYTHONPATH": PYTHONPATH}
        done = subprocess.run([sys.executable, "-c", "\n".join(lines)], check=False, env=environment)
        assert done.returncode == -signal.SIGKILL

    def files(self) -> Mapping[str, int]:
        """Every file of the lake, with the time of its last change."""
        return {str(p): p.stat().st_mtime_ns for p in self.place.rglob("*") if p.is_file()}
