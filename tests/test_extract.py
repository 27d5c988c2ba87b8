"""Extraction: what is new is landed once, what is damaged is parked, and the numbers are those of another program."""

from __future__ import annotations

import gzip
import os
import sqlite3
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import duckdb
import pytest

from connecting import CONNECTORS, dataset_of, files, landed, sqlite
from varve import raw
from varve.config import Source
from varve.connect import Plan
from varve.contract import Column, Contract
from varve.errors import ParkedError, SourceError
from varve.raw import Manifest

CONTRACT = Contract("s_d", "1.0.0", "s_d", "bronze", (Column("k", "int"), Column("v", "string")))
DATED = {"declared_date": r"(\d{4}-\d{2}-\d{2})"}


def land(lake: Path, where: Path | Source, **options: object) -> list[Manifest]:
    """What one run lands, in its order. where: a folder with dated files, or a source."""
    source = files(where, **{**DATED, **options}) if isinstance(where, Path) else where
    return landed(lake, dataset_of(source, CONTRACT))


def planned(source: Source, *, expected: bool = False) -> Plan:
    return CONNECTORS[source.kind].plan(dataset_of(source, CONTRACT), [], expected=expected)


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def test_manifest_of_a_file(lake_dir: Path, inbox: Path) -> None:
    write(inbox / "x_2026-01-02.csv", "k,v\n1,a\n2\n")
    [manifest] = land(lake_dir, inbox)
    assert (manifest.as_of, manifest.mode, manifest.status) == (datetime(2026, 1, 2, tzinfo=UTC), "snapshot", "landed")
    assert (manifest.rows, manifest.rejected, manifest.columns) == (1, 1, ("k", "v"))
    assert manifest.scopes == {"ES/iberia1": 1}
    assert not manifest.complete, "a rejected record may be any key, so absence proves nothing"
    [received] = manifest.paths("received")
    assert Path(received).read_bytes() == b"k,v\n1,a\n2\n"


def test_files_land_once_in_the_order_of_their_dates(lake_dir: Path, inbox: Path) -> None:
    write(inbox / "b_2026-01-01.csv", "k,v\n1,a\n")
    write(inbox / "a_2026-01-02.csv", "k,v\n1,a\n")
    assert [m.origin.path for m in land(lake_dir, inbox)] == ["b_2026-01-01.csv", "a_2026-01-02.csv"]
    assert land(lake_dir, inbox) == []
    write(inbox / "copy_2026-01-02.csv", "k,v\n1,a\n")
    os.utime(inbox / "b_2026-01-01.csv")
    assert land(lake_dir, inbox) == [], "a copy and a touched file are nothing new"


def test_new_bytes_under_an_old_name_are_a_new_version(lake_dir: Path, inbox: Path) -> None:
    landed = [
        land(lake_dir, inbox) for text in ("A", "B", "A", "A") if write(inbox / "x_2026-01-01.csv", f"k,v\n1,{text}\n")
    ]
    assert [len(once) for once in landed] == [1, 1, 1, 0]
    assert len({m.id for once in landed for m in once}) == 3


def test_the_same_size_and_time_do_not_hide_a_change(lake_dir: Path, inbox: Path) -> None:
    path = write(inbox / "x_2026-01-01.csv", "k,v\n1,a\n")
    os.utime(path, (1e9, 1e9))
    land(lake_dir, inbox)
    write(path, "k,v\n1,b\n")
    os.utime(path, (1e9, 1e9))
    assert len(land(lake_dir, inbox)) == 1


def test_an_untouched_file_is_not_read_again(lake_dir: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(inbox / "x_2026-01-01.csv", "k,v\n1,a\n")
    time.sleep(2.1)
    land(lake_dir, inbox)
    monkeypatch.setattr("varve.connect.files.sha256", lambda _: pytest.fail("read again"))
    assert land(lake_dir, inbox) == []


def test_without_a_date_the_file_speaks_for_its_time(lake_dir: Path, inbox: Path) -> None:
    os.utime(write(inbox / "a.csv", "k,v\n1,a\n"), (1e9, 1e9))
    os.utime(write(inbox / "b.csv", "k,v\n2,b\n"), (4e9, 4e9))
    first, second = land(lake_dir, inbox, declared_date=None)
    assert first.as_of == datetime.fromtimestamp(1e9, UTC)
    assert first.as_of < second.as_of <= datetime.now(UTC), "a time in the future is not believed"


@pytest.mark.parametrize(
    ("name", "note"),
    [
        pytest.param(".x_2026-01-01.csv", "hidden or unfinished", id="hidden"),
        pytest.param("x_2026-01-01.csv.part", "hidden or unfinished", id="part"),
        pytest.param("x_2026-01-01.csv.tmp", "hidden or unfinished", id="tmp"),
        pytest.param("x_2026-01-01.csv", "left for the next run", id="too young"),
    ],
)
def test_files_that_wait(lake_dir: Path, inbox: Path, name: str, note: str) -> None:
    write(inbox / name, "k,v\n1,a\n")
    [told] = planned(files(inbox, **DATED, settle_seconds=60)).notes
    assert note in told
    assert land(lake_dir, inbox, settle_seconds=60) == []


def test_a_file_that_grows_while_it_is_read_waits(lake_dir: Path, inbox: Path) -> None:
    path = write(inbox / "x_2026-01-01.csv", "k,v\n1,a\n")
    [take] = planned(files(inbox, **DATED)).takes
    write(path, "k,v\n1,a\n2,b\n")
    assert take.land(partial(raw.Landing, lake_dir)) is None
    assert raw.manifests(lake_dir, "s", "d") == []
    assert [m.rows for m in land(lake_dir, inbox)] == [2]


def test_a_parked_file_is_looked_at_again_when_its_bytes_change(lake_dir: Path, inbox: Path) -> None:
    path = write(inbox / "x_2026-01-01.csv.gz", gzip.compress(b"k,v\n" + os.urandom(99).hex().encode())[:-20])
    [parked] = land(lake_dir, inbox)
    assert parked.status == "parked"
    assert "cut off" in str(parked.reason)
    assert [f.role for f in parked.files] == ["received"]
    assert land(lake_dir, inbox) == []
    told = raw.parked_error(raw.waiting(raw.manifests(lake_dir, "s", "d")))
    assert isinstance(told, ParkedError)
    assert all(part in str(told) for part in ("x_2026-01-01.csv.gz", "cut off", f"--discard {parked.id}"))
    write(path, gzip.compress(b"k,v\n1,a\n"))
    assert [m.status for m in land(lake_dir, inbox)] == ["landed"]
    assert raw.waiting(raw.manifests(lake_dir, "s", "d")) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("x.csv", "its path holds no date", id="no date"),
        pytest.param("x_2026-13-01.csv", "is no date", id="no such month"),
    ],
)
def test_a_path_without_its_date_is_parked(lake_dir: Path, inbox: Path, name: str, reason: str) -> None:
    write(inbox / name, "k,v\n1,a\n")
    [manifest] = land(lake_dir, inbox)
    assert manifest.status == "parked"
    assert reason in str(manifest.reason)


def test_scope_from_a_column_lists_every_expected_scope(lake_dir: Path, inbox: Path) -> None:
    write(inbox / "x_2026-01-01.csv", "k,v\n1,a\n1,b\n9,c\n")
    by_column = {"country": "ES", "entity": {"column": "k", "map": {"1": "iberia1", "2": "iberia2"}}}
    [manifest] = land(lake_dir, inbox, scope=by_column)
    assert (manifest.scope_country, manifest.scope_entity) == ("ES", "_mixed")
    assert manifest.scopes == {"ES/_unknown": 1, "ES/iberia1": 2, "ES/iberia2": 0}


def test_without_the_scope_column_the_file_is_parked(lake_dir: Path, inbox: Path) -> None:
    write(inbox / "x_2026-01-01.csv", "k,v\n1,a\n")
    [manifest] = land(lake_dir, inbox, scope={"country": "ES", "entity": {"column": "x", "map": {"1": "iberia1"}}})
    assert "the column 'x'" in str(manifest.reason)


def test_scope_from_the_path(lake_dir: Path, inbox: Path) -> None:
    for folder in ("iberia1", "iberia2", "Odd Name"):
        write(inbox / folder / "x_2026-01-01.csv", "k,v\n")
    found = land(lake_dir, inbox, scope={"country": "ES", "entity": {"path": "^([^/]+)/"}})
    assert {str(m.scope) for m in found} == {"ES/iberia1", "ES/iberia2", "ES/_unknown"}, "equal bytes, other scopes"


def test_an_absent_folder(tmp_path: Path) -> None:
    source = files(tmp_path / "none")
    [note] = planned(source).notes
    assert "nothing was ever delivered" in note
    with pytest.raises(SourceError, match="the folder is absent"):
        planned(source, expected=True)


def counted(path: str) -> int:
    """Records of a CSV file by DuckDB."""
    with duckdb.connect() as db:
        row = db.execute(f"SELECT count(*) FROM read_csv('{path}', all_varchar=true, header=true)").fetchone()
    assert row
    return int(row[0])


def test_real_vintages(lake_dir: Path, shared_data: Path) -> None:
    gdp = land(lake_dir, shared_data / "worldbank-gdp", path="gdp_*.csv", scope={"country": "_all", "entity": "_all"})
    assert [m.declared for m in gdp] == ["2012-09-20", "2013-06-28", "2015-08-16", "2017-07-13"]
    assert [m.rows for m in gdp] == [counted(str(shared_data / "worldbank-gdp" / m.origin.path)) for m in gdp]
    assert all(m.complete for m in gdp)
    ecb = land(lake_dir / "ecb", shared_data / "ecb-eurofxref", path="vintages/*.zip")
    assert [m.rows for m in ecb] == [4565, 5117, 5614, 6147, 6656], (
        "lines of the files inside, by hand, less the header"
    )
    assert all(m.rejected == 0 and len(m.columns) == 42 for m in ecb)


def table(path: Path, *rows: tuple[object, ...], columns: str = "k INTEGER PRIMARY KEY, v") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path)
    with database:
        database.execute("DROP TABLE IF EXISTS T")
        database.execute(f"CREATE TABLE T ({columns})")
        database.executemany(f"INSERT INTO T VALUES ({', '.join('?' * len(rows[0]))})" if rows else "", rows)
    database.close()
    return str(path)


def values(manifest: Manifest) -> list[tuple[object, ...]]:
    names = ", ".join(f"c{i}" for i in range(len(manifest.columns)))
    with duckdb.connect() as db:
        return db.execute(
            f"SELECT {names} FROM read_parquet({manifest.paths('records')}) ORDER BY _position"
        ).fetchall()


def test_sqlite_values_become_lossless_text(lake_dir: Path, tmp_path: Path) -> None:
    rows = [(1, 0.1 + 0.2), (2, 2**62 + 1), (3, b"\x00\xff"), (4, "1.10"), (5, None)]
    [manifest] = land(lake_dir, sqlite(table(tmp_path / "a.db", *rows), keys=["k"]))
    assert values(manifest) == [
        ("1", "0.30000000000000004"), ("2", "4611686018427387905"), ("3", "00ff"), ("4", "1.10"), ("5", None),
    ]  # fmt: skip
    assert (manifest.mode, manifest.complete, manifest.picture) == ("snapshot", True, "point_in_time")


def test_sqlite_lands_only_what_changed(lake_dir: Path, tmp_path: Path) -> None:
    source = sqlite(table(tmp_path / "a.db", (1, "a")), keys=["k"])
    assert len(land(lake_dir, source)) == 1
    assert land(lake_dir, source) == []
    table(tmp_path / "a.db", (1, "a"))
    assert land(lake_dir, source) == [], "another file with the same rows"
    table(tmp_path / "a.db", (1, "b"))
    assert len(land(lake_dir, source)) == 1
    table(tmp_path / "a.db", (1, "a"))
    assert len(land(lake_dir, source)) == 1, "back to the first state is a new picture"


def test_sqlite_copies_with_dates(lake_dir: Path, tmp_path: Path) -> None:
    for day in ("2026-01-02", "2026-01-01"):
        table(tmp_path / "copies" / f"{day}.db", (1, "a"))
    by_entity = {"country": "ES", "entity": {"column": "k", "map": {"1": "iberia1", "2": "iberia2"}}}
    source = sqlite(str(tmp_path / "copies" / "*.db"), keys=["k"], date=r"(\d{4}-\d{2}-\d{2})", scope=by_entity)
    found = land(lake_dir, source)
    assert [m.as_of for m in found] == [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)]
    assert [m.scopes for m in found] == [{"ES/iberia1": 1, "ES/iberia2": 0}] * 2
    assert land(lake_dir, source) == []


def test_sqlite_incremental_reads_beyond_the_last_bound(lake_dir: Path, tmp_path: Path) -> None:
    source = sqlite(table(tmp_path / "a.db", (1, 10), (2, 20)), mode="incremental", cursor="v", keys=["k"])
    [first] = land(lake_dir, source)
    assert (first.mode, first.rows, dict(first.bounds or {})) == ("changes", 2, {"lower": None, "upper": 20})
    assert land(lake_dir, source) == []
    table(tmp_path / "a.db", (1, 10), (2, 20), (3, 30), (4, None))
    [second] = land(lake_dir, source)
    assert values(second) == [("3", "30"), ("4", None)], "a row without a cursor is never lost"
    assert dict(second.bounds or {}) == {"lower": 20, "upper": 30}


def test_sqlite_damage_is_parked(lake_dir: Path, tmp_path: Path) -> None:
    path = Path(table(tmp_path / "a.db", *((n, "x" * 500) for n in range(200))))
    path.write_bytes(path.read_bytes()[:20_000])
    source = sqlite(str(path), keys=["k"])
    [manifest] = land(lake_dir, source)
    assert manifest.status == "parked"
    assert "damaged database" in str(manifest.reason)
    assert land(lake_dir, source) == []


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        pytest.param({"table": "U"}, "has no table U; found T", id="no such table"),
        pytest.param({"keys": ["id"]}, "has no column id", id="no such key"),
    ],
)
def test_sqlite_that_is_not_as_configured(
    lake_dir: Path, tmp_path: Path, facts: Mapping[str, object], error: str
) -> None:
    source = sqlite(table(tmp_path / "a.db", (1, "a")), **facts)
    with pytest.raises(ParkedError, match=error):
        land(lake_dir, source)
