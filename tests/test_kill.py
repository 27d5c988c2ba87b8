"""`daily`, killed at any moment and run again, ends in the same tables; a program that commits too early is caught."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from company_lake import Project, Ran

MOMENTS = [
    pytest.param((i + 0.5) / 10, id=f"at {(i + 0.5) / 10:.0%}", marks=[] if i in (2, 5, 8) else pytest.mark.slow)
    for i in range(10)
]
DAYS = 2  # enough for every table, mode and format


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Ran]:
    project = Project.at(tmp_path_factory.mktemp("undisturbed"), days=DAYS)
    ran = project.daily()
    assert ran.code == 0, ran.output
    assert project.differences() == []
    return project, ran


def contents(project: Project) -> dict[str, list[str]]:
    """All rows of bronze, of the versions and of the rejects, but for what tells when and by which run.

    The logs of the entities are left out: how often a run folded shows in them.
    """
    found = {}
    for folder in sorted(project.lake.glob("*/*/_delta_log")):
        layer, table = folder.parts[-3:-1]
        if table.endswith("_changes") or (layer == "ops" and table != "rejects"):
            continue
        times = ("_landed_at", "recorded_at", "rejected_at", "run_id", "batch")
        rows = project.rows(layer, table)
        found[f"{layer}.{table}"] = sorted(str({k: v for k, v in r.items() if k not in times}) for r in rows)
    return found


@pytest.mark.parametrize("share", MOMENTS)
def test_killed_and_run_again(share: float, tmp_path: Path, undisturbed: tuple[Project, Ran]) -> None:
    reference, ran = undisturbed
    project = Project.at(tmp_path, days=DAYS)
    shutil.copytree(reference.lake / ".keys", project.lake / ".keys")  # one key: the same pseudonyms in both lakes
    process = project.start("daily")
    try:
        process.wait(timeout=ran.seconds * share)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    again = project.daily()
    assert again.code == 0, again.output
    assert project.differences() == []
    assert contents(project) == contents(reference)


MANIFEST_BEFORE_FILES = """
import os, signal
from varve.raw import landing
def publish(self, manifest):
    global left
    keys = [f"{{self.draft.folder}}/{{file.name}}" for file in self._files]
    contents = {{key: self._store.read(key) for key in keys}}
    for key in keys:
        self._store.delete(key)
    now = landing.datetime.now(landing.UTC)
    published = self._publisher.take_number(
        landing.msgspec.structs.replace(manifest, files=tuple(self._files), landed_at=now)
    )
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    for key, content in contents.items():
        self._store.put(key, content)
    return published
left = {left}
landing.Landing.publish = publish
"""

INDEX_BEFORE_DELTA = """
import os, signal
from pathlib import Path
from varve.raw import batch, index
from varve.storage.delta import Store
def done(root, layer, table):
    return Path(root) / "ops" / f"done-{{layer}}-{{table}}"
def loaded(store, files, layer, table, from_rows):
    found, file = honest_loaded(store, files, layer, table, from_rows), done(store.root, layer, table)
    for line in file.read_text().splitlines() if file.exists() else ():
        dataset, number, manifest, *scopes = line.split()
        found.add(batch.Load(dataset, int(number), manifest, tuple(scopes)))
    return found
def append(self, rows, layer, table, *, note=None, **options):
    global left
    done(self.root, layer, table).parent.mkdir(parents=True, exist_ok=True)
    with done(self.root, layer, table).open("a") as told:
        for load in batch.loads_of(note or {{}}):
            told.write(" ".join([load.dataset, str(load.number), load.manifest, *load.scopes]) + "\\n")
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return honest_append(self, rows, layer, table, note=note, **options)
left = {left}
honest_append, Store.append = Store.append, append
honest_loaded, index.loaded = index.loaded, loaded
"""


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(MANIFEST_BEFORE_FILES, id="manifest before files"),
        pytest.param(INDEX_BEFORE_DELTA, id="index before Delta"),
    ],
)
def test_who_commits_too_early_is_caught(mutant: str, tmp_path: Path, undisturbed: tuple[Project, Ran]) -> None:
    """The comparison of the test above must fail for a program that is wrong."""
    project = Project.at(tmp_path, days=DAYS)
    assert project.daily(mutant=mutant.format(left=3)).code == -signal.SIGKILL
    again = project.daily(mutant=mutant.format(left=0))
    assert again.code != 0 or project.differences() != []
