"""A source that nobody has seen before reaches silver by configuration alone, and its scopes leave each other alone."""

from __future__ import annotations

import csv
import random
import string
from pathlib import Path

from pyspark.sql import SparkSession

from in_process import Jobs
from written_conf import write, write_contract

TYPES = {"string": "wort{}", "int": "{}", "decimal(19,4)": "{}.2500", "date": "2026-01-{:02d}", "boolean": "true"}


class Invented:
    """A source with random names, columns and two keys; by day and scope, or with the scope in a column of its rows."""

    def __init__(self, folder: Path, seed: int, scopes: int, *, shared: bool = False) -> None:
        chance = random.Random(seed)
        self.folder, self.shared = folder, shared
        self.source, self.dataset, self.entity, *self.keys = (self._name(chance) for _ in range(5))
        self.columns = {self._name(chance): chance.choice(list(TYPES)) for _ in range(chance.randint(2, 6))}
        self.columns[self._name(chance)] = "int"  # something that changes
        self.scopes = [f"e{number:02d}" for number in range(scopes)]
        self.conf = folder / "conf"
        self._configure()

    @staticmethod
    def _name(chance: random.Random) -> str:
        return "".join(chance.choices(string.ascii_lowercase, k=9))

    def _configure(self) -> None:
        columns = [
            {"name": key, "physicalType": "string", "primaryKey": True, "primaryKeyPosition": place, "required": True}
            for place, key in enumerate(self.keys, start=1)
        ] + [{"name": name, "physicalType": kind} for name, kind in self.columns.items()]
        bronze = f"{self.source}_{self.dataset}"
        by_column = {"column": "owner", "map": {str(n): scope for n, scope in enumerate(self.scopes)}}
        dataset = {
            "contract": bronze, "path": "**/*.csv", "format": "csv", "declared_date": r"(\d{4}-\d{2}-\d{2})\.csv$",
            "mode": "changes" if self.shared else "snapshot",
        }  # fmt: skip
        scope = {"country": "ES", "entity": by_column if self.shared else {"path": "^([a-z0-9]+)/"}}
        source = {
            "source": self.source,
            "kind": "files",
            "root": "in",
            "scope": scope,
            "datasets": {self.dataset: dataset},
        }
        write(self.conf, f"sources/{self.source}.yml", source)
        owner: list[dict[str, object]] = [{"name": "owner", "physicalType": "string"}] if self.shared else []
        write_contract(self.conf, bronze, {"layer": "bronze"}, [*columns, *owner])
        rules = {"layer": "silver", "history": {}, "guard": {"max_deleted_share": 1.0}, "feeds": [{"bronze": bronze}]}
        write_contract(self.conf, self.entity, rules, columns)

    def deliver(self, scopes: list[str], day: int, rows: int) -> None:
        """`rows` keys of each scope, whose values change with the day: a file per scope, or one for all."""
        for folder in ["all"] if self.shared else scopes:
            file = self.folder / "in" / folder / f"2026-03-{day:02d}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("w", newline="", encoding="utf-8") as out:
                writer = csv.writer(out)
                writer.writerow([*self.keys, *self.columns, *(["owner"] if self.shared else [])])
                for scope in scopes if self.shared else [folder]:
                    for number in range(rows):
                        values = [TYPES[kind].format(day + number) for kind in self.columns.values()]
                        owner = [str(self.scopes.index(scope))] if self.shared else []
                        writer.writerow(["k", f"n{number}", *values, *owner])

    def load(self, jobs: Jobs) -> None:
        for job in ("extract", "bronze", "silver"):
            jobs.run(job)


def test_configuration_is_enough(tmp_path: Path, spark: SparkSession) -> None:
    source = Invented(tmp_path, random.randrange(10**6), scopes=3)
    source.deliver(source.scopes, 1, rows=4)
    jobs = Jobs.at(tmp_path / "lake", spark, "first", conf=source.conf)
    source.load(jobs)
    source.deliver(source.scopes[:1], 2, rows=3)
    source.load(jobs)
    rows = jobs.rows(f"silver.{source.entity}", "scope_entity, is_current, is_deleted")
    found = {
        scope: sorted((current, gone) for entity, current, gone in rows if entity == scope) for scope in source.scopes
    }
    changed = [(False, False)] * 4 + [(False, True)] + [(True, False)] * 3  # three keys changed, one is gone
    unchanged = [(True, False)] * 4
    assert found == {"e00": changed, "e01": unchanged, "e02": unchanged}, f"configuration in {source.conf}"


def test_one_new_manifest_leaves_the_files_of_other_scopes(tmp_path: Path, spark: SparkSession) -> None:
    source = Invented(tmp_path, 3, scopes=50, shared=True)
    source.deliver(source.scopes, 1, rows=2)
    jobs = Jobs.at(tmp_path / "lake", spark, "first", conf=source.conf)
    source.load(jobs)
    before = files_by_scope(jobs, source)
    source.deliver(["e07"], 2, rows=2)
    source.load(jobs)
    after = files_by_scope(jobs, source)
    assert {layer: set(found) for layer, found in before.items()} == {layer: set(source.scopes) for layer in before}
    changed = {
        (layer, scope) for layer in before for scope in before[layer] if before[layer][scope] != after[layer][scope]
    }
    assert changed == {("bronze", "e07"), ("silver", "e07")}


def files_by_scope(jobs: Jobs, source: Invented) -> dict[str, dict[str, set[str]]]:
    tables = {"bronze": f"{source.source}_{source.dataset}", "silver": source.entity}
    found: dict[str, dict[str, set[str]]] = {layer: {} for layer in tables}
    for layer, table in tables.items():
        for file in jobs.lake.store.files(layer, table):
            found[layer].setdefault(file["partition.scope_entity"], set()).add(file["path"])
    return found
