"""A kind of source that nobody has seen before: one module in a stranger's folder, nothing of the project changes."""

from __future__ import annotations

import random
import string
import subprocess
from pathlib import Path
from textwrap import dedent
from typing import Final

import pytest
from pyspark.sql import SparkSession

from in_process import PROJECT, Jobs
from test_strangers_folder import project
from varve.config import load
from varve.model.errors import ConfigError
from written_conf import write, write_contract

CONNECTOR: Final = '''
    """A notebook: entries of `name: value` lines, apart by blank lines; an entry is landed once, by its number."""

    from collections.abc import Iterator
    from dataclasses import dataclass
    from datetime import UTC, datetime
    from pathlib import Path
    from typing import Literal

    from varve.connect import (
        Connector, Dataset, DatasetOptions, Discovered, Finding, Plan, Source, draft, extract_id, folder_scope,
        framed_into,
    )
    from varve.config.sources import absolute
    from varve.framing import Columns, FramedRecord
    from varve.raw import Manifest, Origin, Publisher


    class Notes(DatasetOptions):
        topic: str
        mode: Literal["changes"] = "changes"


    class Notebook(Source):
        kind: Literal["KIND"]
        place: str
        datasets: dict[str, Notes]

        def resolved(self, folder):
            return self.model_copy(update={"place": absolute(self.place, folder)})


    def entries(place: str, topic: str) -> list[dict[str, str]]:
        blocks = Path(place, topic).read_text().strip().split("\\n\\n")
        return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


    @dataclass
    class Take:
        publisher: Publisher
        dataset: Dataset
        begin: int

        @property
        def scope(self):
            return folder_scope(self.dataset.scope, self.dataset.options.topic)

        def land(self) -> Manifest | None:
            found = entries(self.dataset.system.place, self.dataset.options.topic)[self.begin :]
            if not found:
                return None
            now, topic = datetime.now(UTC), self.dataset.options.topic
            id_ = extract_id(self.dataset.source, self.dataset.name, self.begin)
            known = draft(self.dataset, self.scope, id_, Origin(path=topic), declared=None, as_of=now, started=now)
            with self.publisher.landing(known) as landing:
                columns = Columns()
                records = self.framed(found, columns)
                return landing.publish(framed_into(landing, known, records, columns.names, self.dataset.scope))

        def framed(self, found, columns) -> Iterator[FramedRecord]:
            for position, entry in enumerate(found, start=1):
                columns.declare(list(entry))
                yield FramedRecord(position, str(entry), [entry.get(name) for name in columns.names])


    class Notebooks(Connector):
        kind = "KIND"
        source = Notebook

        def discover(self, source):
            for path in sorted(Path(source.place).iterdir()):
                yield Discovered(path.name, dict.fromkeys(entries(source.place, path.name)[0], "text"))

        def check(self, source):
            there = Path(source.place).is_dir()
            yield Finding(f"source {source.source}", source.place, None if there else "Buy a notebook.")

        def plan(self, dataset: Dataset, publisher: Publisher, *, expected: bool) -> Plan:
            begin = sum(one.rows for one in publisher.known)
            return Plan([Take(publisher, dataset, begin)])
'''


class Stranger:
    """A folder with a notebook, its connector, and what `conf` says of them. All names are invented."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.conf, self.lake = folder, folder / "conf", folder / "lake"
        self.kind, self.module, self.source, self.dataset = (
            "".join(random.choices(string.ascii_lowercase, k=9)) for _ in range(4)
        )
        (folder / "notes").mkdir(parents=True)
        (folder / f"{self.module}.py").write_text(dedent(CONNECTOR).replace("KIND", self.kind))
        write(self.conf, "local.yml", {"connectors": [self.module]})
        contract = f"{self.source}_{self.dataset}"
        write(self.conf, f"sources/{self.source}.yml", {
            "source": self.source, "kind": self.kind, "place": "notes", "scope": {"country": "ES", "entity": "iberia1"},
            "datasets": {self.dataset: {"contract": contract, "topic": "birds"}},
        })  # fmt: skip
        key = {"name": "bird", "physicalType": "string", "primaryKey": True, "primaryKeyPosition": 1, "required": True}
        write_contract(self.conf, contract, {"layer": "bronze"}, [key, {"name": "seen", "physicalType": "int"}])

    def note(self, **entry: str) -> None:
        with (self.folder / "notes" / "birds").open("a") as file:
            file.write("".join(f"{name}: {value}\n" for name, value in entry.items()) + "\n")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(PROJECT / "spark-submit.sh"), *words, "--conf", str(self.conf), "--lake", str(self.lake)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_a_kind_of_ones_own(tmp_path: Path, spark: SparkSession) -> None:
    before = project()
    stranger = Stranger(tmp_path)
    stranger.note(bird="owl", seen="2")
    checked = stranger.run("check")
    assert f"source {stranger.source}" in checked.stdout
    for _ in range(2):
        ran = stranger.run("extract")
        assert ran.returncode == 0, ran.stdout + ran.stderr
    stranger.note(bird="crow", seen="many")
    assert stranger.run("extract").returncode == 0
    jobs = Jobs.at(stranger.lake, spark, "loaded", conf=stranger.conf)
    jobs.run("bronze")
    assert sorted(jobs.rows(f"bronze.{stranger.source}_{stranger.dataset}", "bird, seen")) == [
        ("crow", None),
        ("owl", 2),
    ]
    assert project() == before


@pytest.mark.parametrize(("module", "error"), [
    pytest.param("", "no class in it extends varve.connect.Connector and has a kind", id="no connector"),
    pytest.param("x = y", "NameError: name 'y' is not defined", id="broken"),
    pytest.param("import sys; sys.exit(3)", "cannot be used as a connector", id="ends the process"),
    pytest.param("from varve.connect import Connector\nclass C(Connector):\n    kind = 'c'",
                 "C needs kind (a text) and source (a class that extends Source)", id="no source"),
    pytest.param("from varve.connect import Connector, Source\nclass C(Connector):\n    kind, source = 'c', Source",
                 "abstract class C", id="unfinished"),
    pytest.param("from varve.connect.files import FilesConnector\nclass C(FilesConnector): pass",
                 "the kind files is there already", id="taken"),
    pytest.param(None, "No module named", id="absent"),
])  # fmt: skip
def test_a_module_that_brings_no_kind(tmp_path: Path, module: str | None, error: str) -> None:
    stranger = Stranger(tmp_path)
    file = tmp_path / f"{stranger.module}.py"
    file.unlink() if module is None else file.write_text(module)
    with pytest.raises(ConfigError) as caught:
        load(stranger.conf)
    [told] = caught.value.errors
    assert str(told.where).endswith("conf/local.yml:2")
    assert error in str(told)


def test_an_unknown_kind_names_those_that_there_are(tmp_path: Path) -> None:
    stranger = Stranger(tmp_path)
    path = stranger.conf / f"sources/{stranger.source}.yml"
    path.write_text(path.read_text().replace(f"kind: {stranger.kind}", f"kind: {stranger.kind}s"))
    ran = stranger.run("extract")
    assert ran.returncode == 2
    known = ", ".join(sorted([stranger.kind, "files", "sqlite"]))
    assert f"{stranger.source}.yml:5: kind has a value that is not possible" in ran.stderr
    assert f"found '{stranger.kind}s'; expected {known}" in ran.stderr
    assert f"Did you mean {stranger.kind}?" in ran.stderr
