"""Connectors: what is there, and whether it can be read, told without taking anything."""

from __future__ import annotations

import sqlite3
from importlib import import_module
from pathlib import Path

import pytest

from connecting import CONNECTORS, files, sqlite
from varve.config.kinds import built_in
from varve.config.sources import Source
from varve.model.errors import UsageError


def database(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE T (k INTEGER PRIMARY KEY, v TEXT)")
        connection.execute("CREATE VIEW Seen AS SELECT k FROM T")
    connection.close()
    return str(path)


def discovered(source: Source) -> dict[str, dict[str, str]]:
    return {found.name: dict(found.columns) for found in CONNECTORS[source.kind].discover(source)}


def checked(source: Source) -> tuple[str, str | None]:
    [finding] = CONNECTORS[source.kind].check(source)
    assert finding.what == "source s"
    return finding.found, finding.remedy


def test_a_kind_is_the_module_of_its_name() -> None:
    for kind, module in built_in().items():
        kinds = [value.kind for value in vars(import_module(module)).values() if getattr(value, "kind", None) == kind]
        assert kinds, module
    assert {*built_in()} == {*CONNECTORS}


def test_files_are_discovered_with_their_columns(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.csv").write_text("k,v\n1,2\n")
    (tmp_path / "deep" / "b.ndjson").write_text('{"x": 1}\n')
    (tmp_path / "c.pdf").write_text("%PDF")
    (tmp_path / "torn.json").write_text("[{")
    (tmp_path / ".hidden.csv").write_text("k\n")
    assert discovered(files(tmp_path, path="*.csv")) == {
        "a.csv": {"k": "string", "v": "string"}, "deep/b.ndjson": {"x": "string"}, "c.pdf": {}, "torn.json": {},
    }  # fmt: skip


def test_tables_are_discovered_with_their_types(tmp_path: Path) -> None:
    found = discovered(sqlite(database(tmp_path / "a.db")))
    assert found == {"T": {"k": "INTEGER", "v": "TEXT"}, "Seen": {"k": "INTEGER"}}


def test_a_folder_is_checked(tmp_path: Path) -> None:
    assert checked(files(tmp_path)) == (str(tmp_path), None)
    assert checked(files(tmp_path / "none")) == (f"{tmp_path / 'none'}: nothing there yet", None)
    (tmp_path / "file").touch()
    found, remedy = checked(files(tmp_path / "file"))
    assert (found, remedy) == (f"{tmp_path / 'file'} is no folder", "Correct root in conf/sources.")


def test_a_database_is_checked(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db")
    assert checked(sqlite(path)) == (path, None)
    assert checked(sqlite(f"{tmp_path}/*.sqlite")) == (f"{tmp_path}/*.sqlite: nothing there yet", None)
    found, remedy = checked(sqlite(path, table="U"))
    assert (found, remedy) == (f"{path} has no table U, it has Seen, T", "Correct its name in conf/sources.")
    (tmp_path / "b.db").write_text("no database at all, but long enough to be one" * 9)
    found, remedy = checked(sqlite(str(tmp_path / "b.db")))
    assert "cannot be read: file is not a database" in found
    assert remedy is not None


def test_only_a_folder_can_be_read_elsewhere(tmp_path: Path) -> None:
    assert files(tmp_path).moved("/else").root == "/else"  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="a source of kind sqlite is read from no folder"):
        sqlite("a.db").moved("/else")
