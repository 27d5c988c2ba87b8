"""`check` tries what the lake's place can do, and says what will not work there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from losing_proxy import losing_proxy
from object_stores import Emulator
from varve.model.errors import StorageError
from varve.run.check import storage
from varve.storage import open_files
from varve.storage.trial import folder_lacks, store_lacks


def test_a_place_that_can_do_all_lacks_nothing_and_is_left_as_it_was(root: str) -> None:
    files = open_files(root)
    files.put("ours/object", b"ours")
    [finding] = storage(root)
    assert (finding.what, finding.found, finding.remedy) == ("lake", root, None)
    assert [entry.key for entry in files.list("")] == ["ours/object"]
    if "://" not in root:
        assert [path.name for path in Path(root).iterdir()] == ["ours"]


def test_the_folder_of_a_lake_to_come_is_not_made(tmp_path: Path) -> None:
    [finding] = storage(str(tmp_path / "some" / "lake"))
    assert finding.remedy is None
    assert list(tmp_path.iterdir()) == []


REFUSED = OSError(errno.EPERM, "Operation not permitted")  # what FAT and many mounted volumes say to a link


@pytest.mark.parametrize(
    ("name", "act"),
    [
        pytest.param("os.link", "hard links", id="no links"),
        pytest.param("fcntl.flock", "locks (flock)", id="no locks"),
        pytest.param("pathlib.Path.replace", "replacing a file", id="no replacing"),
        pytest.param("os.fsync", "sync", id="no sync"),
    ],
)
def test_an_act_that_is_refused_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, act: str) -> None:
    """The error is injected: no file system of a common machine lacks one of these for root."""

    def refuse(*_: object, **__: object) -> None:
        raise REFUSED

    monkeypatch.setattr(name, refuse)
    [lack] = folder_lacks(tmp_path)
    assert (lack.act, lack.found) == (act, "Operation not permitted")
    [finding] = storage(str(tmp_path))
    assert act in finding.found
    assert "choose a local disk or an object store for --lake" in finding.remedy
    assert lack.loses in finding.remedy


@pytest.mark.parametrize(
    ("name", "silent", "act"),
    [
        pytest.param("os.link", os.replace, "hard links", id="a link that replaces"),
        pytest.param("fcntl.flock", lambda *_: None, "locks (flock)", id="a lock that locks nothing"),
    ],
)
def test_an_act_that_is_done_wrongly_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, silent: object, act: str
) -> None:
    monkeypatch.setattr(name, silent)
    assert [lack.act for lack in folder_lacks(tmp_path)] == [act]


def test_a_folder_where_nothing_can_be_written_is_a_problem() -> None:
    if not Path("/proc").is_dir():
        pytest.skip("no /proc, where root cannot write either")
    with pytest.raises(StorageError, match="nothing can be written"):
        list(folder_lacks(Path("/proc")))
    [finding] = storage("/proc/lake")
    assert finding.remedy == "Give a place that can be written: --lake DIR."


def test_a_store_that_ignores_conditions_is_found_out(s3: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """As S3-compatible stores do that know no conditional requests; the conditions are taken out on the way."""

    def ignore(_method: str, _path: str, headers: object) -> None:
        for name in ("If-None-Match", "If-Match"):
            del headers[name]  # type: ignore[attr-defined]

    with losing_proxy(s3.port, ignore) as port:
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value.replace(str(s3.port), str(port)))
        lacks = list(store_lacks(open_files(f"{s3.root}/trial")))
    assert [lack.act for lack in lacks] == ["put if absent", "replace if unchanged"]


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        pytest.param("s3a://nowhere/lake", "Create it", id="no bucket"),
        pytest.param("ftp://host/lake", "Give a place", id="unknown scheme"),
    ],
)
def test_a_store_that_cannot_be_opened_is_a_problem(
    s3: Emulator, monkeypatch: pytest.MonkeyPatch, root: str, expected: str
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    [finding] = storage(root)
    assert expected in finding.remedy
