"""Extraction: what is new is landed once, what is damaged is parked, and the numbers are those of another program."""

from __future__ import annotations

import gzip
import os
import shutil
import sqlite3
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from connecting import CONNECTORS, dataset_of, files, landed, planned, raw_of, sqlite
from varve import raw
from varve.config import Source
from varve.connect._takes import Bound
from varve.connect.database._windows import earlier
from varve.model.contract import Column, Contract
from varve.model.errors import ParkedError, SourceError
from varve.raw import Manifest

CONTRACT = Contract("s_d", "1.0.0", "s_d", "bronze", (Column("k", "int"), Column("v", "string")))
DATED = {"declared_date": r"(\d{4}-\d{2}-\d{2})"}


def land(lake: Path, where: Path | Source, **options: object) -> list[Manifest]:
    """What one run lands, in its order. where: a folder with dated files, or a source."""
    source = files(where, **{**DATED, **options}) if isinstance(where, Path) else where
    return landed(lake, dataset_of(source, CONTRACT))


def all_of(lake: Path) -> list[Manifest]:
    """Everything that is published, by number."""
    dataset = raw_of(lake)
    return [dataset.manifest(number) for number in dataset.catalog().published]


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
    [received] = manifest.keys("received")
    assert (lake_dir / received).read_bytes() == b"k,v\n1,a\n2\n"


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
    monkeypatch.setattr("varve.raw.Landing.receive", lambda *_: pytest.fail("read again"))
    monkeypatch.setattr("varve.connect.files.sha256", lambda _: pytest.fail("read again"))
    assert land(lake_dir, inbox) == []


def test_without_a_date_the_file_speaks_for_its_time(lake_dir: Path, inbox: Path) -> None:
    os.utime(write(inbox / "a.csv", "k,v\n1,a\n"), (1e9, 1e9))
    os.utime(write(inbox / "b.csv", "k,v\n2,b\n"), (4e9, 4e9))
    first, second = land(lake_dir, inbox, declared_date=None)
    assert first.as_of == datetime.fromtimestamp(1e9, UTC)
    assert first.as_of < second.as_of <= datetime.now(UTC), "a time in the future is not believed"


# (files as they arrive: name, content, when it was written), how many land each time, part of what the last one says
OPEN, CLOSED = "k,v\n1,open\n", "k,v\n1,closed\n"
UNDATED = [
    pytest.param([("1.csv", OPEN, 1), ("2.csv", CLOSED, 2), ("3.csv", OPEN, 3)], [1, 1, 1],
                 "3.csv has the bytes of 1.csv, which is not the last: loaded as newer", id="open, closed, open again"),
    pytest.param([("1.csv", OPEN, 1), ("1.csv", CLOSED, 2), ("1.csv", OPEN, 3)], [1, 1, 1],
                 "1.csv has the bytes of 1.csv", id="the same under one name"),
    pytest.param([("1.csv", OPEN, 1), ("2.csv", OPEN, 2)], [1, 1], None, id="nothing has changed since"),
    pytest.param([("1.csv", OPEN, 1), ("1.csv", OPEN, 2)], [1, 1], None, id="delivered again under its name"),
    pytest.param([("1.csv", OPEN, 1), ("old/1.csv", OPEN, 1)], [1, 0], "old/1.csv is a copy", id="copied or moved"),
    pytest.param([("1.csv", OPEN, 1), ("2.csv", CLOSED, 2), ("1 (1).csv", OPEN, 1)], [1, 1, 0], "1 (1).csv is a copy",
                 id="a copy of one that is not the last"),
]  # fmt: skip


@pytest.mark.parametrize(("arrivals", "expected", "said"), UNDATED)
def test_without_dates_bytes_that_come_again_later_are_a_delivery(
    lake_dir: Path, inbox: Path, arrivals: list[tuple[str, str, int]], expected: list[int], said: str | None
) -> None:
    dataset = dataset_of(files(inbox, path="**/*.csv"), CONTRACT)
    found = []
    for name, content, written in arrivals:
        os.utime(write(inbox / name, content), (written * 1e9, written * 1e9))
        with raw.publishing(raw_of(lake_dir)) as publisher:
            plan = CONNECTORS["files"].plan(dataset, publisher, expected=False)
            found.append([m for take in plan.takes if (m := take.land()) is not None])
        again = planned(lake_dir, dataset)
        assert [take.land() for take in again.takes] == [None] * len(again.takes), "nothing lands a second time"
    assert [len(landed) for landed in found] == expected
    assert len({m.id for landed in found for m in landed}) == sum(expected)
    assert [note for note in plan.notes if said and said in note] if said else plan.notes == []


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
    [told] = planned(lake_dir, dataset_of(files(inbox, **DATED, settle_seconds=60), CONTRACT)).notes
    assert note in told
    assert land(lake_dir, inbox, settle_seconds=60) == []


def test_a_file_that_grows_while_it_is_read_waits(lake_dir: Path, inbox: Path) -> None:
    path = write(inbox / "x_2026-01-01.csv", "k,v\n1,a\n")
    dataset = dataset_of(files(inbox, **DATED), CONTRACT)
    with raw.publishing(raw_of(lake_dir)) as publisher:
        [take] = CONNECTORS["files"].plan(dataset, publisher, expected=False).takes
        write(path, "k,v\n1,a\n2,b\n")
        assert take.land() is None
    assert all_of(lake_dir) == []
    assert [m.rows for m in land(lake_dir, inbox)] == [2]


def test_a_parked_file_is_looked_at_again_when_its_bytes_change(lake_dir: Path, inbox: Path) -> None:
    path = write(inbox / "x_2026-01-01.csv.gz", gzip.compress(b"k,v\n" + os.urandom(99).hex().encode())[:-20])
    [parked] = land(lake_dir, inbox)
    assert parked.status == "parked"
    assert "cut off" in str(parked.reason)
    assert [f.role for f in parked.files] == ["received"]
    assert land(lake_dir, inbox) == []
    told = raw.parked_error(raw.waiting(raw_of(lake_dir).catalog()))
    assert isinstance(told, ParkedError)
    assert all(part in str(told) for part in ("x_2026-01-01.csv.gz", "cut off", f"--discard {parked.id}"))
    write(path, gzip.compress(b"k,v\n1,a\n"))
    assert [m.status for m in land(lake_dir, inbox)] == ["landed"]
    assert raw.waiting(raw_of(lake_dir).catalog()) == []


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


def test_an_absent_folder(lake_dir: Path, tmp_path: Path) -> None:
    dataset = dataset_of(files(tmp_path / "none"), CONTRACT)
    [note] = planned(lake_dir, dataset).notes
    assert "nothing was ever delivered" in note
    with pytest.raises(SourceError, match="the folder is absent"):
        planned(lake_dir, dataset, expected=True)


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
        if rows:
            database.executemany(f"INSERT INTO T VALUES ({', '.join('?' * len(rows[0]))})", rows)
    database.close()
    return str(path)


def values(lake: Path, manifest: Manifest) -> list[tuple[object, ...]]:
    names = ", ".join(f"c{i}" for i in range(len(manifest.columns)))
    files = [str(lake / key) for key in manifest.keys("records")]
    with duckdb.connect() as db:
        return db.execute(f"SELECT {names} FROM read_parquet({files}) ORDER BY _position").fetchall()


@pytest.mark.parametrize(("declared", "held", "kind", "kept"), [
    pytest.param("v", [1, None, 2**62 + 1], "bigint", [1, None, 2**62 + 1], id="integers"),
    pytest.param("v", [0.1 + 0.2, None, 1e300], "double", [0.1 + 0.2, None, 1e300], id="reals"),
    pytest.param("v", ["a", None, ""], "string", ["a", None, ""], id="texts"),
    pytest.param("v", [b"\x00\xff", None], "binary", [b"\x00\xff", None], id="blobs"),
    pytest.param("v DECIMAL(9,2)", [5, 5.25], "string", ["5", "5.25"], id="mixed: as text"),
    pytest.param("v INTEGER", [None, None], "bigint", [None, None], id="nulls: as declared"),
    pytest.param("v REAL", [], "double", [], id="empty: as declared"),
    pytest.param("v", [], "string", [], id="empty"),
])  # fmt: skip
def test_sqlite_values_keep_their_type(
    lake_dir: Path, tmp_path: Path, declared: str, held: list[object], kind: str, kept: list[object]
) -> None:
    source = sqlite(
        table(tmp_path / "a.db", *enumerate(held), columns=f"k INTEGER PRIMARY KEY, {declared}"), keys=["k"]
    )
    [manifest] = land(lake_dir, source)
    assert manifest.types == ("bigint", kind)
    assert values(lake_dir, manifest) == list(enumerate(kept))


def test_a_text_that_is_not_utf8_is_rejected_alone(lake_dir: Path, tmp_path: Path) -> None:
    path = table(tmp_path / "a.db", (1, "a"), (2, "b"), (3, "c"))
    with sqlite3.connect(path) as database:
        database.execute("UPDATE T SET v = CAST(x'ff' AS TEXT) WHERE k = 2")
    database.close()
    [manifest] = land(lake_dir, sqlite(path, keys=["k"]))
    assert (manifest.rows, manifest.rejected, manifest.complete) == (2, 1, False)
    assert values(lake_dir, manifest) == [(1, "a"), (3, "c")]


def test_sqlite_values_of_mixed_types_become_lossless_text(lake_dir: Path, tmp_path: Path) -> None:
    rows = [(1, 0.1 + 0.2), (2, 2**62 + 1), (3, b"\x00\xff"), (4, "1.10"), (5, None)]
    [manifest] = land(lake_dir, sqlite(table(tmp_path / "a.db", *rows), keys=["k"]))
    assert values(lake_dir, manifest) == [
        (1, "0.30000000000000004"), (2, "4611686018427387905"), (3, "00ff"), (4, "1.10"), (5, None),
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


def incremental(path: str, **options: object) -> Source:
    return sqlite(path, **{"mode": "incremental", "cursor": "v", "keys": ["k"], **options})  # type: ignore[arg-type]


WINDOWS = [
    # (id, options, [(rows of the table, what lands)])
    ("a row that joins the bound is loaded once", {}, [
        ([(1, 10), (2, 20)], [(1, 10), (2, 20)]), ([(1, 10), (2, 20), (3, 20)], [(3, 20)]),
        ([(1, 10), (2, 20), (3, 20)], None)]),
    ("rows beyond the bound", {}, [([(1, 10)], [(1, 10)]), ([(1, 10), (2, 30)], [(2, 30)])]),
    ("a row without a cursor is never lost", {}, [
        ([(1, 10)], [(1, 10)]), ([(1, 10), (2, None)], [(2, None)]), ([(1, 10), (2, None)], None)]),
    ("a late row within the lag", {"lag": 5}, [
        ([(1, 10)], [(1, 10)]), ([(1, 10), (2, 6), (3, 4)], [(2, 6)]), ([(1, 10), (2, 6), (3, 4)], None)]),
    ("a late row within the lag of a moved bound", {"lag": 5}, [
        ([(1, 10)], [(1, 10)]), ([(1, 10), (2, 20)], [(2, 20)]), ([(1, 10), (2, 20), (3, 15)], [(3, 15)])]),
    ("an update in the overlap", {}, [
        ([(1, 10, "a"), (2, 10, "b")], [(1, 10, "a"), (2, 10, "b")]), ([(1, 10, "A"), (2, 10, "b")], [(1, 10, "A")]),
        ([(1, 10, "a"), (2, 10, "b")], [(1, 10, "a")])]),
    ("equal rows are counted", {"keys": []}, [([(1, 10)], [(1, 10)]), ([(1, 10), (1, 10)], [(1, 10)])]),
    ("a bound never goes back", {}, [
        ([(1, 10), (2, 20)], [(1, 10), (2, 20)]), ([(1, 10)], None), ([(1, 10), (3, 15), (4, 20)], [(4, 20)])]),
    ("an empty table", {}, [([], None), ([(1, 10)], [(1, 10)]), ([], None)]),
    ("only rows without a cursor", {}, [([(1, None)], [(1, None)]), ([(1, None), (2, 5)], [(2, 5)])]),
    ("times as text", {"lag": 60}, [
        ([(1, "2026-03-01 10:00:00")], [(1, "2026-03-01 10:00:00")]),
        ([(1, "2026-03-01 10:00:00"), (2, "2026-03-01 09:59:00"), (3, "2026-03-01 09:58:59")],
         [(2, "2026-03-01 09:59:00")])]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "steps"), [pytest.param(o, s, id=i) for i, o, s in WINDOWS])
def test_windows(
    lake_dir: Path, tmp_path: Path, options: dict[str, object], steps: list[tuple[list[tuple[object, ...]], object]]
) -> None:
    path = tmp_path / "a.db"
    for rows, expected in steps:
        columns = "k, v, w" if rows and len(rows[0]) == 3 else "k, v"
        found = land(lake_dir, incremental(table(path, *rows, columns=columns), **options))
        assert [sorted(values(lake_dir, m), key=str) for m in found] == ([] if expected is None else [expected])
        assert all(m.mode == "changes" for m in found)


def test_the_bounds_of_a_window_are_told(lake_dir: Path, tmp_path: Path) -> None:
    [first] = land(lake_dir, incremental(table(tmp_path / "a.db", (1, 10), (2, 20)), lag=3))
    [second] = land(lake_dir, incremental(table(tmp_path / "a.db", (1, 10), (2, 20), (3, 30)), lag=3))
    assert dict(first.bounds or {}) == {"lower": None, "upper": 20}
    assert dict(second.bounds or {}) == {"lower": 17, "upper": 30}


@pytest.mark.parametrize(("bound", "lag", "expected"), [
    (20, 5, 15), (20, 0.5, 19.5), (2.5, 1, 1.5), (None, 5, None), ("x", 0, "x"),
    ("2026-03-01 00:00:30", 60, "2026-02-28 23:59:30"), ("2026-03-01T00:00:30.500", 60, "2026-02-28T23:59:30.500"),
    ("2026-03-01T00:00:30Z", 60, "2026-02-28T23:59:30Z"), ("2026-03-01", 86_400, "2026-02-28"),
    ("2026-03-01 00:00:30+02:00", 60, "2026-02-28 23:59:30+02:00"), ("2026-03-01 10:00", 60, "2026-03-01 09:59"),
])  # fmt: skip
def test_a_bound_less_the_lag_is_written_as_it_is(bound: Bound, lag: float, expected: Bound) -> None:
    assert earlier(bound, lag) == expected


def test_a_lag_needs_a_number_or_a_time() -> None:
    with pytest.raises(ParkedError, match="a lag needs a cursor that is a number or a time; found x"):
        earlier("x", 5)


def test_a_bulk_update_that_shares_one_cursor(lake_dir: Path, tmp_path: Path) -> None:
    source = incremental(table(tmp_path / "a.db", *((n, 7) for n in range(100_000))))
    [first] = land(lake_dir, source)
    assert first.rows == 100_000
    assert land(lake_dir, source) == []
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("INSERT INTO T VALUES (100000, 7)")
    database.close()
    [second] = land(lake_dir, source)
    assert values(lake_dir, second) == [(100_000, 7)]


def test_a_window_that_was_not_published_is_read_again_under_its_id(lake_dir: Path, tmp_path: Path) -> None:
    land(lake_dir, incremental(table(tmp_path / "a.db", (1, 10))))
    source = incremental(table(tmp_path / "a.db", (1, 10), (2, 10)))
    killed = tmp_path / "killed"
    shutil.copytree(lake_dir, killed)
    assert [m.id for m in land(lake_dir, source)] == [m.id for m in land(killed, source)]


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
