"""The landing zone: the manifest is the commit, whatever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest
from pyspark.sql import SparkSession

from varve import raw
from varve.errors import StorageError
from varve.framing import Framed
from varve.raw import Landing, Manifest, Origin, disk

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def draft(id_: str = "a1", **changes: object) -> Manifest:
    facts: dict[str, object] = {
        "id": id_, "source": "s", "dataset": "d", "contract": "s_d", "scope_country": "ES", "scope_entity": "iberia1",
        "mode": "snapshot", "as_of": MOMENT, "origin": Origin(path="x.csv"), "started_at": MOMENT, "landed_at": MOMENT,
    }  # fmt: skip
    return Manifest(**{**facts, **changes})  # type: ignore[arg-type]


RECORDS = [Framed(1, "1,a", ("1", "a")), Framed(2, "2", reason="short"), Framed(3, "3,c", ("3", None))]


def land(lake: Path, manifest: Manifest) -> Manifest:
    with raw.claim(lake, "s", "d"), Landing(lake, manifest) as landing:
        landing.frame(RECORDS, ["k", "v"])
        return landing.publish(manifest)


def test_layout_and_content(lake_dir: Path) -> None:
    land(lake_dir, draft())
    [found] = raw.manifests(lake_dir, "s", "d")
    folder = lake_dir / "raw/s/d/country=ES/entity=iberia1/day=2026-03-01/extract=a1"
    assert Path(found.folder) == folder
    assert sorted(p.name for p in folder.iterdir()) == ["_manifest.json", "part-00000.parquet", "rejects-00000.parquet"]
    assert [(f.role, f.rows) for f in found.files] == [("records", 2), ("rejects", 1)]
    for file in found.files:
        assert (file.bytes, file.sha256) == ((folder / file.name).stat().st_size, disk.sha256(folder / file.name))
    with duckdb.connect() as db:
        rows = db.execute(f"SELECT * FROM read_parquet('{folder}/part-*.parquet', hive_partitioning=false)").fetchall()
    assert rows == [(1, "1,a", "1", "a"), (3, "3,c", "3", None)]


def test_without_publish_nothing_remains(lake_dir: Path) -> None:
    with raw.claim(lake_dir, "s", "d"):
        with Landing(lake_dir, draft()) as landing:
            landing.frame(RECORDS, ["k", "v"])
            assert list(lake_dir.rglob("extract=*"))
        assert not list(lake_dir.rglob("extract=*"))


def test_a_landed_extract_is_never_replaced(lake_dir: Path) -> None:
    land(lake_dir, draft())
    with pytest.raises(StorageError, match="landed already"):
        land(lake_dir, draft(started_at=datetime(2026, 3, 2, tzinfo=UTC)))


def test_a_second_writer_is_refused(lake_dir: Path) -> None:
    with raw.claim(lake_dir, "s", "d"):
        with pytest.raises(StorageError, match="another writer is at work") as caught, raw.claim(lake_dir, "s", "d"):
            pass
        assert f"process {os.getpid()}" in str(caught.value)
        with raw.claim(lake_dir, "s", "other"):
            pass


def test_no_name_is_taken_twice(tmp_path: Path) -> None:
    path = tmp_path / "x"
    disk.write_new(path, lambda p: p.write_text("first") and None)
    with pytest.raises(StorageError, match="another writer was here first"):
        disk.write_new(path, lambda p: p.write_text("second") and None)
    assert path.read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_what_the_disk_changed_is_not_published(lake_dir: Path) -> None:
    with raw.claim(lake_dir, "s", "d"), Landing(lake_dir, draft()) as landing:
        landing.frame(RECORDS, ["k", "v"])
        part = landing.folder / "part-00000.parquet"
        part.write_bytes(part.read_bytes()[:-1] + b"X")
        with pytest.raises(StorageError, match="does not hold what was written"):
            landing.publish(draft())
    assert raw.manifests(lake_dir, "s", "d") == []


def test_an_edited_manifest_is_an_error(lake_dir: Path) -> None:
    folder = Path(land(lake_dir, draft()).folder)
    (folder / "_manifest.json").write_text("{")
    with pytest.raises(StorageError, match="this is no manifest"):
        raw.manifests(lake_dir, "s", "d")


def test_order_is_that_of_the_pictures(lake_dir: Path) -> None:
    for id_, day in (("b", 2), ("c", 1), ("a", 2)):
        land(lake_dir, draft(id_, as_of=datetime(2026, 1, day, tzinfo=UTC)))
    assert [m.id for m in raw.manifests(lake_dir, "s", "d")] == ["c", "b", "a"]


def test_fields_that_appear_later(lake_dir: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varve.raw.landing._MOST_CELLS", 2)
    names = ["a"]

    def records() -> list[Framed]:
        def growing() -> object:
            yield Framed(1, "r1", ("1",))
            names.append("b.c")
            yield Framed(2, "r2", (None, "x"))
            yield Framed(3, "r3", ("3",))

        return growing()  # type: ignore[return-value]

    with raw.claim(lake_dir, "s", "d"), Landing(lake_dir, draft()) as landing:
        assert landing.frame(records(), names) == (3, 0)
        manifest = landing.publish(draft(columns=tuple(names), rows=3))
    assert len(manifest.paths("records")) == 2
    rows = raw.read(spark, manifest).orderBy("_position").collect()
    assert [tuple(r) for r in rows] == [(1, "r1", "1", None), (2, "r2", None, "x"), (3, "r3", "3", None)]
    assert raw.read(spark, manifest).columns == ["_position", "_record", "c0", "c1"], "no column from a folder's name"


class Delivery(NamedTuple):
    id: str
    status: str = "landed"
    mode: str = "snapshot"
    declared: str | None = None
    path: str = "x.csv"


@pytest.mark.parametrize(
    ("deliveries", "waiting"),
    [
        pytest.param([Delivery("a", "parked")], ["a"], id="parked waits"),
        pytest.param([Delivery("a", "parked"), Delivery("b")], [], id="delivered again"),
        pytest.param([Delivery("b"), Delivery("a", "parked")], ["a"], id="what came before heals nothing"),
        pytest.param([Delivery("a", "parked"), Delivery("b", path="y")], ["a"], id="another file heals nothing"),
        pytest.param([Delivery("a", "parked", "changes"), Delivery("b", mode="changes")], ["a"], id="undated changes"),
        pytest.param(
            [Delivery("a", "parked", "changes", "2026-01-01"), Delivery("b", "landed", "changes", "2026-01-01")], [],
            id="dated changes",
        ),
    ],
)  # fmt: skip
def test_waiting(deliveries: list[Delivery], waiting: list[str]) -> None:
    found = [
        draft(d.id, status=d.status, mode=d.mode, declared=d.declared, origin=Origin(path=d.path),
              landed_at=datetime(2026, 1, 1 + n, tzinfo=UTC))
        for n, d in enumerate(deliveries)
    ]  # fmt: skip
    assert [m.id for m in raw.waiting(found)] == waiting


# Lands a folder in a process of its own, which kills itself with SIGKILL at the n-th act that touches the disk.
LANDING = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
import test_extract
lake, folder, dies_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
acts = 0
def counted(act):
    def acting(*args, **options):
        global acts
        acts += 1
        if acts == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return act(*args, **options)
    return acting
for name in ("fsync", "link", "rename", "unlink", "mkdir"):
    setattr(os, name, counted(getattr(os, name)))
test_extract.land(lake, folder)
print(acts)
"""


def landing_process(lake: Path, folder: Path, dies_at: int) -> subprocess.CompletedProcess[str]:
    arguments = [str(lake), str(folder), str(dies_at), str(Path(__file__).parent)]
    return subprocess.run([sys.executable, "-c", LANDING, *arguments], capture_output=True, text=True, check=False)


def published(lake: Path) -> dict[str, tuple[object, ...]]:
    """Everything that readers see, apart from the clock."""
    return {
        m.id: (m.origin.path, m.rows, m.rejected, m.scopes, m.columns, [(f.name, f.rows, f.sha256) for f in m.files])
        for m in raw.manifests(lake, "s", "d")
    }


def test_killed_anywhere_then_run_again_equals_undisturbed(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "x_2026-01-01.csv").write_text("k,v\n1,a\n2\n3,c\n")
    (folder / "x_2026-01-02.csv").write_text("k,v\n1,b\n")
    undisturbed = landing_process(tmp_path / "undisturbed", folder, 0)
    assert undisturbed.returncode == 0, undisturbed.stderr
    acts = int(undisturbed.stdout)
    expected = published(tmp_path / "undisturbed")
    assert len(expected) == 2
    assert acts > 20
    for dies_at in range(1, acts + 1, max(1, acts // 8)):
        lake = tmp_path / f"lake{dies_at}"
        died = landing_process(lake, folder, dies_at)
        assert died.returncode == -signal.SIGKILL
        assert published(lake).items() <= expected.items(), f"half a landing is visible after act {dies_at}"
        again = landing_process(lake, folder, 0)
        assert again.returncode == 0, again.stderr
        assert published(lake) == expected, f"killed at act {dies_at}"
        leftovers = [p for p in lake.rglob("*") if p.is_file() and p.name.endswith((".tmp", ".writing"))]
        assert leftovers == []
