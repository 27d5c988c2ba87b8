"""A project folder of its own for the embedded company, `daily` run in it by another process, and what came of it.

Tables are read with delta-rs, not with the engine that wrote them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
from deltalake import DeltaTable, QueryBuilder
from examples.company import Company, make

PROJECT = Path(__file__).resolve().parents[1]
SETTINGS = """\
lake: lake
transforms: [transforms]
spark:
  master: local[2]
  driver_memory: 2g
  conf: {spark.driver.extraJavaOptions: "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m"}
"""
TABLES = ("portfolio", "debtor", "claim", "payment")
PERSONAL = ("name", "email", "iban", "national_id")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended."""

    code: int
    seconds: float
    output: str


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with conf, jobs and a company, and the lake that `daily` makes of them."""

    root: Path

    @classmethod
    def at(cls, root: Path, company: Company | None = None, *, days: int = 6) -> Project:
        shutil.copytree(PROJECT / "conf", root / "conf")
        (root / "conf" / "local.yml").write_text(SETTINGS)
        (root / "jobs").symlink_to(PROJECT / "jobs")
        make(root / "company", company or Company(), until_day=days)
        return cls(root)

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    def start(self, *words: str, mutant: str = "") -> subprocess.Popen[str]:
        """Start a job graph in a process group of its own. mutant: Python that is run first, in that process."""
        code = f"import sys, runpy; sys.path.insert(0, {str(PROJECT / 'lib')!r})\n{mutant}\n"
        code += f"runpy.run_path({str(PROJECT / 'jobs' / 'run.py')!r}, None, '__main__')"
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("VARVE_", "SPARK_", "PYSPARK_"))}
        command = [sys.executable, "-c", code, *words, "--conf", str(self.root / "conf"), "--lake", str(self.lake)]
        return subprocess.Popen(
            command, env=environment | {"PYTHONPATH": str(PROJECT / "lib")}, cwd=self.root, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def run(self, *words: str, mutant: str = "") -> Ran:
        """Run a job graph and wait for it."""
        began = time.monotonic()
        process = self.start(*words, mutant=mutant)
        output, _ = process.communicate(timeout=900)
        return Ran(process.returncode, time.monotonic() - began, output)

    def daily(self, **options: str) -> Ran:
        return self.run("daily", **options)

    # --- what the lake holds -----------------------------------------------------------------------------------

    def rows(self, layer: str, table: str, columns: str = "*") -> list[Row]:
        """The rows of a table, as plain values."""
        path = self.lake / layer / table
        if not (path / "_delta_log").is_dir():
            return []
        found = QueryBuilder().register("t", DeltaTable(str(path))).execute(f"SELECT {columns} FROM t").read_all()
        return [{name: _plain(value) for name, value in row.items()} for row in pyarrow.table(found).to_pylist()]

    def count(self, table: str) -> int:
        return int((self.rows("bronze", table, "count(*) AS n") or [{"n": 0}])[0]["n"])

    def versions(self) -> dict[str, int]:
        """The Delta version of every table but the ledger's own."""
        logs = self.lake.glob("*/*/_delta_log")
        tables = sorted(log.parent for log in logs if log.parent.parent.name != "ops")
        return {f"{t.parent.name}.{t.name}": DeltaTable(str(t)).version() for t in tables}

    def silver(self, entity: str) -> list[Row]:
        """The versions of an entity, in the columns and the order of the answer book, pseudonyms as they are."""
        columns = [*self.book(f"silver/{entity}")[0]]
        rows = self.rows("silver", entity, ", ".join(f'"{column}"' for column in columns))
        return sorted(rows, key=_place(entity))

    def rejects(self) -> Counter[tuple[str, str, str]]:
        """How many records were rejected, by (bronze table that they came through, stage, first rule broken)."""
        sources = {}
        for path in self.lake.glob("raw/*/*/manifests/*.json"):
            manifest = json.loads(path.read_bytes())
            sources[manifest["id"]] = f"{manifest['source']}_{manifest['dataset']}"
        found = self.rows("ops", "rejects", "manifest, stage, rule")
        return Counter((sources[r["manifest"]], r["stage"], r["rule"].split(", ")[0]) for r in found)

    # --- what it must hold -------------------------------------------------------------------------------------

    def book(self, name: str) -> list[Row]:
        path = self.root / "company" / "answers" / f"{name}.ndjson"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def differences(self, *, book: str = "silver") -> list[str]:
        """Everything in which the lake differs from the answer book; empty when all is right."""
        found = [difference for entity in TABLES for difference in self._silver_differences(entity, book)]
        for row in self.book("bronze"):
            if (count := self.count(row["table"])) != row["rows"]:
                found.append(f"bronze.{row['table']}: {count} rows, the book has {row['rows']}")
        expected = {(r["table"], r["stage"], r["rule"]): r["rejected"] for r in self.book("rejects")}
        rejects = self.rejects()
        for key in sorted(expected.keys() | rejects.keys()):
            if rejects[key] != expected.get(key, 0):
                found.append(f"rejects of {key}: {rejects[key]}, the book has {expected.get(key, 0)}")
        return found

    def _silver_differences(self, entity: str, book: str) -> list[str]:
        expected = sorted(self.book(f"{book}/{entity}"), key=_place(entity))
        rows = self.silver(entity)
        if entity == "debtor":
            rows, expected = _classed(rows), _classed(expected)
        missing = [row for row in expected if row not in rows]
        extra = [row for row in rows if row not in expected]
        return [
            *(
                f"silver.{entity}: {len(rows)} rows, the book has {len(expected)}"
                for _ in range(len(rows) != len(expected))
            ),
            *(f"silver.{entity} lacks {row}" for row in missing),
            *(f"silver.{entity} has {row}" for row in extra),
        ]


def _place(entity: str) -> Any:
    return lambda row: (row["scope_country"], row["scope_entity"], row[f"{entity}_id"], row["valid_from"])


def _classed(rows: list[Row]) -> list[Row]:
    """Personal values as the number of their class in the order of the rows, so that pseudonyms and classes compare."""
    classes: dict[str, int] = {}
    return [
        {c: classes.setdefault(v, len(classes)) if c in PERSONAL and v is not None else v for c, v in row.items()}
        for row in rows
    ]


def _plain(value: Any) -> Any:
    """Values as the answer book spells them."""
    if isinstance(value, Decimal):
        return f"{value:.4f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value
