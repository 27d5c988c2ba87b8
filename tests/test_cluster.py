from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import deltalake
import pyarrow
import pytest

from cluster.standalone import Cluster, standalone
from company_lake import Project

PROJECT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with standalone(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def test_sql_runs_on_the_workers(cluster: Cluster, tmp_path: Path) -> None:
    deltalake.write_deltalake(tmp_path / "lake" / "gold" / "t", pyarrow.table({"id": [1, 2, 3]}), mode="append")
    conf = cluster.conf(tmp_path / "conf", lake=tmp_path / "lake")
    query = "select count(*) as n, sum(id) as total from gold.t"
    command = [PROJECT / "spark-submit.sh", "sql", query, "--env", "cluster", "--conf", conf, "--format", "csv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "n,total\n3,6\n"), done.stderr
    assert list((cluster.folder).glob("worker-*/app-*")), "no executor ran on a worker"


def test_the_exit_code_comes_through(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    conf = cluster.conf(tmp_path / "conf", lake=tmp_path / "lake")
    command = [PROJECT / "spark-submit.sh", "sql", "select * from gold.absent", "--env", "cluster", "--conf", conf]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2, done.stderr
    assert "there is no table gold.absent" in done.stdout  # Spark's own spark-submit joins the two streams of a job


def test_the_day_gives_the_same_tables_as_on_one_machine(cluster: Cluster, tmp_path: Path) -> None:
    """The answer book is the one that the local run is held against."""
    project = Project.at(tmp_path / "project", days=2)
    conf = cluster.conf(project.root / "conf", lake=project.lake)
    key = tmp_path / "key"
    key.write_text("a key of the test")
    with (conf / "cluster.yml").open("a", encoding="utf-8") as settings:
        settings.write(f'transforms: [transforms]\npseudonyms: {{current: k1, keys: {{k1: "${{file:{key}}}"}}}}\n')
    command = [PROJECT / "spark-submit.sh", "daily", "--env", "cluster", "--conf", conf, "--lake", project.lake]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable}  # the workers' Python: pseudonyms are made there
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.differences() == []
    assert len(list(cluster.folder.glob("worker-*/app-*"))) >= 2, "the work did not reach both workers"
