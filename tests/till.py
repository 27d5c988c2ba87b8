"""A till: a source of three columns, whose extracts a test delivers as files or publishes by the hundred."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from varve.raw import Manifest, Origin, RawDataset, RawFile
from varve.raw.manifest import encode
from varve.storage import Disk
from written_conf import write, write_contract

COLUMNS: Final = ("sale_id", "city", "cents")
CITIES: Final = ("lugo", "madrid", "vigo")
TABLE: Final = "till_sale"
BEGAN: Final = datetime(2026, 3, 1, tzinfo=UTC)
KEY: Final = {"primaryKey": True, "primaryKeyPosition": 1, "required": True}

Record = tuple[str | None, ...]


@dataclass(frozen=True)
class Till:
    """The folder of somebody with one source: `conf`, `incoming` and `lake` below `root`.

    mode: what an extract is; batch: the settings of that name; rule: of silver, an expression that every row keeps;
    by_city: the city of a record is its entity, and an extract has several."""

    root: Path
    mode: str = "changes"
    batch: Mapping[str, object] = field(default_factory=dict)
    rule: str = "cents >= 0"
    by_city: bool = False

    def __post_init__(self) -> None:
        dataset = {
            "contract": TABLE, "path": "**/*.csv", "format": "csv", "mode": self.mode,
            "declared_date": r"(\d{4}-\d{2}-\d{2})\.csv$",
        }  # fmt: skip
        column = {"column": "city", "map": {city.title(): city for city in CITIES}}
        source = {
            "source": "till", "kind": "files", "root": "incoming", "datasets": {"sale": dataset},
            "scope": {"country": "ES", "entity": column if self.by_city else {"path": "^([a-z0-9]+)/"}},
        }  # fmt: skip
        write(self.conf, "local.yml", {"batch": dict(self.batch)} if self.batch else {"lake": "lake"})
        write(self.conf, "sources/till.yml", source)
        self.contracts()

    def contracts(self, *, evolve: str = "rescue") -> None:
        """Bronze and silver of the sales. evolve: what bronze does with columns beside the three."""
        quality = [
            {"type": "custom", "engine": "varve", "name": "kept", "implementation": self.rule, "severity": "error"}
        ]
        columns: list[Mapping[str, object]] = [
            {"name": "sale_id", "physicalType": "bigint", **KEY}, {"name": "city", "physicalType": "string"},
            {"name": "cents", "physicalType": "bigint"},
        ]  # fmt: skip
        write_contract(self.conf, TABLE, {"layer": "bronze", "evolve": evolve}, columns)
        rules = {"layer": "silver", "history": {}, "guard": {"max_deleted_share": 0.5}, "feeds": [{"bronze": TABLE}]}
        of_silver = [{**c, "quality": quality} if c["name"] == "cents" else c for c in columns]
        write_contract(self.conf, "sale", rules, of_silver)

    @property
    def conf(self) -> Path:
        return self.root / "conf"

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    @property
    def raw(self) -> RawDataset:
        return RawDataset(Disk(self.lake), "till", "sale")

    def part(self, number: int) -> Path:
        """The records of an extract."""
        [key] = self.raw.manifest(number).keys("records")
        return self.lake / key

    def manifest(self, number: int) -> Path:
        """Where an extract is published."""
        return self.lake / self.raw.numbers.key(number)

    def deliver(self, entity: str, day: int, *lines: str, head: str = ",".join(COLUMNS)) -> None:
        """A file of one entity and day."""
        file = self.root / "incoming" / entity / f"2026-03-{day:02d}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")

    def publish(
        self, number: int, *, entity: str = "e0", records: Sequence[Record] = (), columns: Sequence[str] = COLUMNS,
        **facts: object,
    ) -> Manifest:  # fmt: skip
        """Publish an extract without the care that is taken of real ones: a hundred take a second, not ten.

        records: (sale_id, city, cents), by default one with the number as its id. facts: others of the manifest."""
        rows = records or [(str(number), "Madrid", "100", *["x"] * (len(columns) - 3))]
        at = BEGAN + timedelta(minutes=number)
        facts = {"mode": self.mode, "complete": self.mode == "snapshot", "as_of": at, **facts}
        entities = [str(row[1]).lower() for row in rows] if self.by_city else [entity]
        scopes = {f"ES/{one}": entities.count(one) if self.by_city else len(rows) for one in entities}
        draft = Manifest(
            id=f"x{number:06d}", source="till", dataset="sale", contract=TABLE, scope_country="ES",
            scope_entity="_mixed" if self.by_city else entity, origin=Origin(path=f"{entity}/{number}.csv"),
            started_at=at, landed_at=at, columns=tuple(columns), rows=len(rows), scopes=scopes, **facts,
        )  # fmt: skip
        table = pa.table({
            "_position": pa.array(range(1, len(rows) + 1), pa.int64()),
            "_record": [",".join(value or "" for value in row) for row in rows],
            **{f"c{i}": pa.array([row[i] for row in rows], pa.string()) for i in range(len(columns))},
        })  # fmt: skip
        path = self.lake / draft.folder / f"part-{number:08x}-00000.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        content = path.read_bytes()
        file = RawFile(
            name=path.name, role="records", bytes=len(content), sha256=hashlib.sha256(content).hexdigest(),
            rows=len(rows),
        )  # fmt: skip
        manifest = Manifest(**{**{f: getattr(draft, f) for f in Manifest.__struct_fields__}, "files": (file,)})
        self.manifest(number).parent.mkdir(parents=True, exist_ok=True)
        self.manifest(number).write_bytes(encode(manifest))
        return manifest
