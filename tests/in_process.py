"""The real jobs, run in the process of the tests on the shared session."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from pyspark.sql import SparkSession

from varve import config
from varve.run import cli
from varve.run.console import Screen
from varve.run.run import Run

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Jobs:
    """A lake, and the jobs run on it in this process."""

    lake: Run

    @classmethod
    def at(cls, root: Path, spark: SparkSession, name: str, *, conf: Path = PROJECT / "conf") -> Jobs:
        lake = Run(config.load(conf, lake=str(root)), job="test", run_id=name)
        assert lake.spark is spark  # opened here: a thread of a job would not find the session of the tests
        return cls(lake)

    def run(self, name: str, *words: str) -> None:
        module = job_module(name)
        args: Namespace = module.parser().parse_args(words)
        with self.lake.ledger.within(name):
            module.run(self.lake, args)
        self.lake.ledger.flush()

    def rows(self, table: str, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
        """Read by delta-rs, not by the engine that wrote."""
        layer, name = table.split(".")
        place = DeltaTable(self.lake.store.path(layer, name))
        found = QueryBuilder().register("t", place).execute(f"select {columns} from t where {where}").read_all()
        return [tuple(row.values()) for row in pa.table(found).to_pylist()]


def launched(name: str, *words: str, has_session: bool = True) -> int:
    """The exit code that a job ends with that is run in this process, with all that surrounds a run."""
    module = job_module(name)

    def body(lake: Run, args: Namespace, screen: Screen) -> int:
        if has_session:
            assert lake.spark  # opened here, see `Jobs.at`
        return cli._recorded(module.run, lake, args, screen)

    return cli.execute(words, lambda _: module.parser(), body, job=name)


def job_module(name: str) -> ModuleType:
    spec = util.spec_from_file_location(f"varve_job_{name}", PROJECT / "jobs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module
