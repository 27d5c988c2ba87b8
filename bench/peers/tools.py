"""dbt snapshot and dlt scd2 on DuckDB, each in an environment of its own. Both take the whole state, not its changes.

They keep the time of their run where ours keeps the time of the change, so only the numbers of versions and of current
rows are checked.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from bench.workload import PARQUET, PAYLOAD, Workload

if TYPE_CHECKING:
    from bench.bench import Bench

MOST_SECONDS = 900  # of one run of a tool; its installation takes what it takes


class Tool:
    """One tool: an environment, a first run with the load and a timed one with the state after the first day."""

    name = ""
    packages: tuple[str, ...] = ()

    def __init__(self, bench: Bench, workload: Workload) -> None:
        self.bench, self.workload = bench, workload
        self.home = bench.arguments.work / "tools" / self.name.split()[0]
        self.database = self.home / "history.duckdb"

    def run(self) -> None:
        """Install, load, time one day, check."""
        try:
            self._install()
            self.database.unlink(missing_ok=True)
            shutil.rmtree(self.home / "pipelines", ignore_errors=True)
            with self.bench.timed(f"{self.name}: load"):
                self.take(f"{self.workload.load}/*.parquet", first=True)
            state = _state_after_a_day(self.workload, self.home)
            with self.bench.timed(f"{self.name}: day as a full extract"):
                self.take(state, first=False)
        except (subprocess.SubprocessError, OSError) as error:
            output = getattr(error, "stderr", "") or getattr(error, "stdout", "") or str(error)
            self.bench.report.not_run(self.name, str(output).strip()[-600:])
            return
        expected = self.bench.reference.expected([self.workload.load, self.workload.day(1)])
        with duckdb.connect(str(self.database), read_only=True) as connection:
            found = connection.execute(self.counts).fetchall()[0]
        if found != (expected.versions, expected.current):
            self.bench.report.wrong(self.name, found, (expected.versions, expected.current))

    counts = ""

    def take(self, state: str, *, first: bool) -> None:
        """One run of the tool over a complete state."""

    def _install(self) -> None:
        """Into an environment of its own; one that an interrupted run left is rebuilt."""
        venv, done = self.home / "venv", self.home / "installed"
        if done.exists() and done.read_text() == repr(self.packages):
            return
        _call([sys.executable, "-m", "venv", "--clear", str(venv)], self.home, most=None)
        _call([str(venv / "bin/python"), "-m", "pip", "install", "--quiet", *self.packages], self.home, most=None)
        done.write_text(repr(self.packages))


class Dlt(Tool):
    """dlt, write disposition merge with strategy scd2."""

    name = "dlt scd2"
    packages = ("dlt[duckdb]", "pyarrow", "pandas", "numpy", "duckdb==1.5.5")
    counts = "SELECT count(*), count(*) FILTER (_dlt_valid_to IS NULL) FROM bench.orders"

    def take(self, state: str, *, first: bool) -> None:
        script = Path(__file__).with_name("dlt_scd2.py")
        _call([str(self.home / "venv/bin/python"), str(script), state, str(self.database)], self.home)


class Dbt(Tool):
    """dbt snapshot, strategy timestamp, with hard deletes."""

    name = "dbt snapshot"
    packages = ("dbt-core<1.12", "dbt-duckdb", "duckdb==1.5.5")
    counts = "SELECT count(*), count(*) FILTER (dbt_valid_to IS NULL) FROM main.orders"

    def take(self, state: str, *, first: bool) -> None:
        columns = ", ".join(("k", *PAYLOAD))
        written = {
            "dbt_project.yml": "name: bench\nversion: '1.0.0'\nprofile: bench\n",
            "profiles.yml": (
                "bench:\n  target: main\n  outputs:\n"
                f"    main: {{type: duckdb, path: '{self.database}', threads: 2, schema: main}}\n"
            ),
            "snapshots/orders.sql": (
                "{% snapshot orders %}{{ config(unique_key='k', strategy='timestamp', updated_at='ts', "
                "target_schema='main', hard_deletes='invalidate') }}\n"
                f"select {columns} from read_parquet('{{{{ var(\"state\") }}}}')\n{{% endsnapshot %}}\n"
            ),
        }
        for path, text in written.items():
            (self.home / path).parent.mkdir(exist_ok=True)
            (self.home / path).write_text(text)
        dbt = str(self.home / "venv/bin/dbt")
        _call([dbt, "snapshot", "--profiles-dir", ".", "--vars", json.dumps({"state": state})], self.home)


def _state_after_a_day(workload: Workload, folder: Path) -> str:
    """The complete state after the first day, as one file."""
    target, columns = folder / "state.parquet", ", ".join(("k", *PAYLOAD))
    stays = f"SELECT {columns} FROM '{workload.load}/*.parquet' WHERE k NOT IN (SELECT k FROM '{workload.day(1)}')"
    new = f"SELECT {columns} FROM '{workload.day(1)}' WHERE op = 'upsert'"
    duckdb.sql(f"COPY ({stays} UNION ALL {new}) TO '{target}' {PARQUET}")
    return str(target)


def _call(command: list[str], folder: Path, *, most: float | None = MOST_SECONDS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=most)
