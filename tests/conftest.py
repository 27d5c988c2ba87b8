"""What every test may ask for: one lazy Spark session, an empty lake, the real data beside the project."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from object_stores import Emulator, azurite, fake_s3
from varve.config import Settings
from varve.spark import session

PROJECT = Path(__file__).resolve().parents[1]
PYTHONPATH = os.pathsep.join([str(PROJECT / "tests"), str(PROJECT / "lib")])  # of a process that a test starts
SLOW_MARKS = ("slow", "cluster")


# Two cores and little memory: what a shared CI machine has to spare. Tables of a few rows live for milliseconds, so the
# compiler that starts fast beats the one that ends fast.
SETTINGS = Settings.model_validate(
    {
        "spark": {
            "master": "local[2]",
            "driver_memory": "2g",
            "conf": {
                "spark.driver.extraJavaOptions": "-XX:ReservedCodeCacheSize=256m",
                # Interpreted expressions: compiling one for a handful of rows costs more than it gives. Tests of whole
                # runs start processes of their own, with the settings that users have.
                "spark.sql.codegen.wholeStage": "false",
                "spark.sql.codegen.factoryMode": "NO_CODEGEN",
            },
        }
    }
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="also run the tests marked slow or cluster")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all"):
        return
    skip = pytest.mark.skip(reason="slow: runs with --all")
    for item in items:
        if any(item.get_closest_marker(mark) for mark in SLOW_MARKS):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared_spark() -> Iterator[SparkSession]:
    """The session of the whole test run, built by the project's own `session.build`."""
    spark = session.build(SETTINGS, app="varve-tests")
    yield spark
    spark.stop()


@pytest.fixture(autouse=True)
def nothing_kept(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test kept in memory is given back: Spark looks for it in every plan of every test after it."""
    yield
    if "shared_spark" in request.fixturenames:
        request.getfixturevalue("shared_spark").catalog.clearCache()


@pytest.fixture
def spark(shared_spark: SparkSession) -> Iterator[SparkSession]:
    """The shared session; its catalog is clean again after each test."""
    yield shared_spark
    catalog = shared_spark.catalog
    for table in catalog.listTables("default"):
        if table.isTemporary:
            catalog.dropTempView(table.name)
        else:
            shared_spark.sql(f"DROP TABLE IF EXISTS default.`{table.name}`")
    for database in catalog.listDatabases():
        if database.name != "default":
            shared_spark.sql(f"DROP DATABASE `{database.name}` CASCADE")


@pytest.fixture
def lake_dir(tmp_path: Path) -> Path:
    """An empty folder for one lake."""
    folder = tmp_path / "lake"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def s3() -> Iterator[Emulator]:
    with fake_s3() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def azure() -> Iterator[Emulator]:
    with azurite() as emulator:
        yield emulator


@pytest.fixture(params=["disk", "s3", "azure"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The root of an empty lake on each kind of store; the environment says how it is reached."""
    if request.param == "disk":
        return str(tmp_path / "lake")
    emulator: Emulator = request.getfixturevalue(request.param)
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    return f"{emulator.root}/{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real extracts that lie beside the project; absent in a bare clone."""
    folder = PROJECT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data is not here: {folder} is absent")
    return folder
