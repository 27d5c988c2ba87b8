"""Extract on every kind of store: a disk, a fake of S3, Azurite. The same is published, and the same is new."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connecting import dataset_of, files, landed, raw_of, sqlite
from varve.config import Source
from varve.model.contract import Column, Contract
from varve.model.errors import OvertakenError
from varve.raw import Landing, Manifest, publishing
from varve.raw.batch import Load
from varve.raw.index import Loaded, _read, _stored, _value, _write
from varve.storage import open_files

CONTRACT = Contract("s_d", "1.0.0", "s_d", "bronze", (Column("k", "bigint"), Column("v", "string")))
Rows = Sequence[tuple[int, str | None]]


def csv(folder: Path, name: str, rows: Rows) -> Source:
    (folder / f"{name}.csv").write_text("k,v\n" + "".join(f"{k},{v or ''}\n" for k, v in rows))
    return files(folder, path="*.csv")


def parquet(folder: Path, name: str, rows: Rows) -> Source:
    pq.write_table(pa.table({"k": [k for k, _ in rows], "v": [v for _, v in rows]}), folder / f"{name}.parquet")
    return files(folder, path="*.parquet", format="parquet")


def database(folder: Path, name: str, rows: Rows) -> Source:
    del name  # one database, that changes
    (folder / "a.db").unlink(missing_ok=True)
    with sqlite3.connect(folder / "a.db") as connection:
        connection.execute("CREATE TABLE T (k INTEGER, v TEXT)")
        connection.executemany("INSERT INTO T VALUES (?, ?)", rows)
    connection.close()
    return sqlite(str(folder / "a.db"), mode="incremental", cursor="k", keys=["k"], lag=1)


def records(root: str, manifest: Manifest) -> Iterator[dict[str, Any]]:
    """The records of an extract, each file of which is what the manifest says."""
    store = open_files(root)
    for file in manifest.files:
        content = store.read(f"{manifest.folder}/{file.name}")
        assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        if file.role == "records":
            for row in pq.read_table(pa.BufferReader(content)).to_pylist():
                yield {name: row[f"c{place}"] for place, name in enumerate(manifest.columns)}


KINDS = pytest.mark.parametrize(
    ("deliver", "types", "received"),
    [
        pytest.param(csv, (), 1, id="csv"),
        pytest.param(parquet, ("bigint", "string"), 1, id="parquet"),
        pytest.param(database, ("bigint", "string"), 0, id="sqlite"),
    ],
)


@KINDS
def test_what_is_delivered_lands_once(
    root: str, tmp_path: Path, deliver: Callable[[Path, str, Rows], Source], types: tuple[str, ...], received: int
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    source = deliver(folder, "x1", [(1, "a"), (2, "ñ")])
    [first] = landed(root, dataset_of(source, CONTRACT))
    assert (first.number, first.rows, first.columns, first.types) == (1, 2, ("k", "v"), types)
    assert [(int(row["k"]), row["v"]) for row in records(root, first)] == [(1, "a"), (2, "ñ")]
    assert len(first.keys("received")) == received
    for key in first.keys("received"):
        [file] = folder.iterdir()
        assert open_files(root).read(key) == file.read_bytes()
    assert landed(root, dataset_of(source, CONTRACT)) == []

    source = deliver(folder, "x2", [(1, "a"), (2, "ñ"), (3, "c")])
    [second] = landed(root, dataset_of(source, CONTRACT))
    new = [(int(row["k"]), row["v"]) for row in records(root, second)]
    assert new == ([(1, "a"), (2, "ñ"), (3, "c")] if received else [(3, "c")]), "a window leaves out what has landed"
    assert landed(root, dataset_of(source, CONTRACT)) == []
    dataset = raw_of(root)
    assert [(one.number, one.id) for one in dataset.catalog()] == [(1, first.id), (2, second.id)]
    assert [dataset.manifest(number) for number in (1, 2)] == [first, second]
    listed = {f"{m.folder}/{file.name}" for m in (first, second) for file in m.files}
    assert {entry.key for entry in dataset.files.list("raw")} == listed | {dataset.numbers.key(n) for n in (1, 2)}


@pytest.mark.parametrize("act", ["receive", "keep", "_put_part", "publish"])
def test_whoever_is_overtaken_at_any_act_says_so_and_leaves_nothing(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    source = dataset_of(csv(tmp_path, "x", [(1, "a")]), CONTRACT)
    slept = getattr(Landing, act)

    def sleeping(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(Landing, act, slept)
        assert len(landed(root, source)) == 1, "what the other run does meanwhile"
        return slept(*args, **options)

    monkeypatch.setattr(Landing, act, sleeping)
    with pytest.raises(OvertakenError, match="another run has published"):
        landed(root, source)
    with publishing(raw_of(root)):
        pass
    [manifest] = [raw_of(root).manifest(one.number) for one in raw_of(root).catalog()]
    listed = {f"{manifest.folder}/{file.name}" for file in manifest.files} | {raw_of(root).numbers.key(1)}
    assert {entry.key for entry in open_files(root).list("raw")} == listed
    assert list(records(root, manifest)) == [{"k": "1", "v": "a"}]


def test_the_index_is_replaced_only_by_who_has_read_it(root: str) -> None:
    store, key = open_files(root), "index/bronze/s_d"
    found = Loaded(7)
    for load in (Load("s_d", 1, "a"), Load("s_d", 2, "b"), Load("s_d", 4, "c", ("ES/e1",))):
        found.add(load)
    index = _stored(found, "table", 3)
    assert _read(store, "bronze", "s_d") == (None, None)
    _write(store, "bronze", "s_d", index, None)
    read, tag = _read(store, "bronze", "s_d")
    assert read == index
    assert read is not None
    assert _value(read) == found
    _write(store, "bronze", "s_d", _stored(found, "table", 4), tag)
    _write(store, "bronze", "s_d", _stored(found, "table", 5), tag)  # another run was first
    _write(store, "bronze", "s_d", _stored(found, "table", 5), None)
    read, tag = _read(store, "bronze", "s_d")
    assert read is not None
    assert tag is not None
    assert read.version == 4
    store.replace(key, b"{cut", tag=tag)
    nothing, tag = _read(store, "bronze", "s_d")
    assert nothing is None
    _write(store, "bronze", "s_d", index, tag)
    assert _read(store, "bronze", "s_d")[0] == index
