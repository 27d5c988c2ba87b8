from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import deltalake
import pyarrow
import pytest

from cluster.standalone import Cluster, standalone

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
