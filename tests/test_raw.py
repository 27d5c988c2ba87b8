"""The landing zone on every kind of store: the manifest is the commit, whatever dies on the way."""

from __future__ import annotations

import hashlib
import re
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
from varve.framing import FramedRecord
from varve.model.errors import OvertakenError, StorageError
from varve.raw import Catalog, Manifest, Origin, RawDataset, publishing
from varve.raw.manifest import encode
from varve.storage import Disk, Files, open_files

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def draft(id_: str = "a1", **changes: object) -> Manifest:
    facts: dict[str, object] = {
        "id": id_, "source": "s", "dataset": "d", "contract": "s_d", "scope_country": "ES", "scope_entity": "iberia1",
        "mode": "snapshot", "as_of": MOMENT, "origin": Origin(path="x.csv"), "started_at": MOMENT, "landed_at": MOMENT,
    }  # fmt: skip
    return Manifest(**{**facts, **changes})  # type: ignore[arg-type]


RECORDS = [
    FramedRecord(1, "1,a", ("1", "a")),
    FramedRecord(2, "2", reason="short"),
    FramedRecord(3, "3,c", ("3", None)),
]


def of(files: Files) -> RawDataset:
    return RawDataset(files, "s", "d")


def land(files: Files, manifest: Manifest) -> Manifest:
    with publishing(of(files)) as publisher, publisher.landing(manifest) as landing:
        landing.frame(RECORDS, ["k", "v"])
        return landing.publish(manifest)


def keys_of(files: Files) -> list[str]:
    return [entry.key for entry in files.list("")]


def files_of(lake: Path) -> list[str]:
    """Every file there is, those that no listing shows among them."""
    return sorted(p.relative_to(lake).as_posix() for p in lake.rglob("*") if p.is_file())


@pytest.fixture
def files(root: str) -> Files:
    """An empty lake on each kind of store."""
    return open_files(root)


def test_layout_and_content(files: Files, tmp_path: Path) -> None:
    land(files, draft())
    found = of(files).manifest(1)
    folder = "raw/s/d/country=ES/entity=iberia1/day=2026-03-01/extract=a1"
    assert found.folder == folder
    names = {file.role: file.name for file in found.files}
    assert re.fullmatch("part-[0-9a-f]{8}-00000.parquet", names["records"])
    listed = [f"{folder}/{name}" for name in names.values()]
    assert keys_of(files) == sorted([*listed, "raw/s/d/manifests/000000000001.json"])
    assert [(f.role, f.rows) for f in found.files] == [("records", 2), ("rejects", 1)]
    for file in found.files:
        content = files.read(f"{folder}/{file.name}")
        assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    local = tmp_path / "part.parquet"
    local.write_bytes(files.read(f"{folder}/{names['records']}"))
    with duckdb.connect() as db:
        rows = db.execute(f"SELECT * FROM read_parquet('{local}')").fetchall()
    assert rows == [(1, "1,a", "1", "a"), (3, "3,c", "3", None)]


def test_without_publish_nothing_remains(files: Files) -> None:
    with publishing(of(files)) as publisher:
        with publisher.landing(draft()) as landing:
            landing.frame(RECORDS, ["k", "v"])
            assert len(keys_of(files)) == 3, "two files, and the note of the attempt"
        assert keys_of(files) == []


def test_a_landed_extract_is_never_replaced(files: Files) -> None:
    land(files, draft())
    with pytest.raises(StorageError, match="landed already"):
        land(files, draft(started_at=datetime(2026, 3, 2, tzinfo=UTC)))


def test_who_publishes_second_is_overtaken(files: Files) -> None:
    """Two that hold the right to land at once: the number that one takes is the fence for the other."""
    with publishing(of(files)) as slow, slow.landing(draft("slow")) as landing:
        landing.frame(RECORDS, ["k", "v"])
        fast = land(files, draft("fast"))
        with pytest.raises(OvertakenError, match="another run has published"):
            landing.publish(draft("slow"))
    assert [one.id for one in of(files).catalog()] == ["fast"]
    expected = [*(f"{fast.folder}/{file.name}" for file in fast.files), "raw/s/d/manifests/000000000001.json"]
    assert keys_of(files) == sorted(expected), "of the other nothing is left"


def test_what_a_dead_attempt_left_goes_once_it_can_never_be_published(files: Files) -> None:
    """While its number is free, its writer may only sleep: then its files stay."""
    with publishing(of(files)) as publisher:
        attempt = publisher.landing(draft("dead"))
        attempt.__enter__()
        attempt.frame(RECORDS, ["k", "v"])
    left = keys_of(files)
    with publishing(of(files)):
        assert keys_of(files) == left
    other = land(files, draft("other", scope_entity="iberia2"))
    expected = [*(f"{other.folder}/{file.name}" for file in other.files), "raw/s/d/manifests/000000000001.json"]
    assert keys_of(files) == sorted(expected)


def test_what_the_store_changed_is_not_published(files: Files) -> None:
    with publishing(of(files)) as publisher, publisher.landing(draft()) as landing:
        landing.frame(RECORDS, ["k", "v"])
        [part] = [key for key in keys_of(files) if "/part-" in key]
        content, tag = files.read_tagged(part)
        files.replace(part, content[:-1] + b"X", tag=tag)
        with pytest.raises(StorageError, match="does not hold what was written"):
            landing.publish(draft())
    assert list(of(files).catalog()) == []


def test_an_edited_manifest_is_an_error(files: Files) -> None:
    land(files, draft())
    manifest = "raw/s/d/manifests/000000000001.json"
    files.replace(manifest, b"{", tag=files.read_tagged(manifest)[1])
    with pytest.raises(StorageError, match="this is no manifest"):
        of(files).catalog()


def test_order_is_that_of_the_pictures(files: Files) -> None:
    for id_, day in (("b", 2), ("c", 1), ("a", 2)):
        land(files, draft(id_, as_of=datetime(2026, 1, day, tzinfo=UTC)))
    assert [m.id for m in of(files).catalog().in_order()] == ["c", "b", "a"]
    assert [m.number for m in of(files).catalog()] == [1, 2, 3]


class Opened(Disk):
    """A disk that counts the objects that are opened."""

    opened = 0

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        content = super().read(key, start=start, length=length)
        Opened.opened += 1
        return content


@pytest.mark.parametrize(
    ("published", "opened"),
    [
        pytest.param(3, 3, id="few are opened one by one"),
        pytest.param(64, 1, id="many are rolled up"),
        pytest.param(70, 7, id="those after the roll-up are opened"),
    ],
)
def test_what_is_known_is_not_opened_again(lake_dir: Path, published: int, opened: int) -> None:
    dataset = RawDataset(Opened(lake_dir), "s", "d")
    for number in range(1, published + 1):
        dataset.numbers.put(number, encode(draft(f"e{number}")))
        if number == 64:
            assert dataset.catalog().last == 64
    Opened.opened = 0
    first = dataset.catalog()
    assert (Opened.opened, first.last) == (opened, published)
    for cut in (b"", b"{", b"x" * 100):
        roll_up = lake_dir / "index/raw/s_d"
        if published < 64:
            assert not roll_up.exists()
            break
        roll_up.write_bytes(cut)
        assert dataset.catalog() == first, "a roll-up that was cut is made again"
    Opened.opened = 0
    assert dataset.catalog() == first
    assert Opened.opened <= opened


def test_a_manifest_that_is_gone_is_missing_and_its_number_stays_taken(files: Files) -> None:
    for id_ in "abc":
        land(files, draft(id_))
    files.delete("raw/s/d/manifests/000000000002.json")
    catalog = of(files).catalog()
    assert ([one.id for one in catalog], catalog.last) == (["a", "c"], 3)
    assert land(files, draft("d")).number == 4


def test_what_is_published_is_rolled_up_and_the_roll_up_is_only_a_cache(files: Files) -> None:
    dataset = of(files)
    for number in range(1, 66):
        dataset.numbers.put(number, encode(draft(f"e{number}")))
    first = dataset.catalog()
    assert (first.last, len(first.published)) == (65, 65)
    assert [entry.key for entry in files.list("index")] == ["index/raw/s_d"]
    land(files, draft("new"))
    assert [one.id for one in dataset.catalog()] == [*(f"e{number}" for number in range(1, 66)), "new"]
    files.delete("index/raw/s_d")
    assert dataset.catalog().last == 66
    assert [entry.key for entry in files.list("index")] == ["index/raw/s_d"], "made again"


def test_fields_that_appear_later(lake_dir: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varve.raw.part_writer._MOST_CELLS", 2)
    names = ["a"]

    def records() -> list[FramedRecord]:
        def growing() -> object:
            yield FramedRecord(1, "r1", ("1",))
            names.append("b.c")
            yield FramedRecord(2, "r2", (None, "x"))
            yield FramedRecord(3, "r3", ("3",))

        return growing()  # type: ignore[return-value]

    with publishing(of(Disk(lake_dir))) as publisher, publisher.landing(draft()) as landing:
        assert landing.frame(records(), names) == (3, 0)
        manifest = landing.publish(draft(columns=tuple(names), rows=3))
    assert len(manifest.keys("records")) == 2
    found = raw.read(spark, Disk(lake_dir), [manifest])
    rows = found.orderBy("_position").drop("_part").collect()
    assert [tuple(r) for r in rows] == [(1, "r1", "1", None), (2, "r2", None, "x"), (3, "r3", "3", None)]
    assert found.columns == ["_position", "_record", "c0", "c1", "_part"], "no column from a folder's name"


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
    found = {
        n: draft(d.id, status=d.status, mode=d.mode, declared=d.declared, origin=Origin(path=d.path), number=n)
        for n, d in enumerate(deliveries, start=1)
    }
    assert [m.id for m in raw.waiting(Catalog(found, len(found)))] == waiting


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
        m.id: (m.origin.path, m.rows, m.rejected, m.scopes, m.columns, [(f.role, f.rows, f.sha256) for f in m.files])
        for m in (of(Disk(lake)).manifest(one.number) for one in of(Disk(lake)).catalog())
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
        listed = {f"{m.folder}/{f.name}" for m in map(of(Disk(lake)).manifest, (1, 2)) for f in m.files}
        # Notes of some bytes that were being put stay, hidden from every listing; of what was framed nothing does.
        left = {name for name in files_of(lake) if "/manifests/" not in name and "/." not in name}
        assert left == listed, f"killed at act {dies_at}"
