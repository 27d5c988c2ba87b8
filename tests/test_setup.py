"""The house itself: what set-up and the command line promise."""

from __future__ import annotations

import configparser
import http.server
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tools import fetch_jars

from varve.model.errors import StorageError
from varve.spark.jars import JARS

PROJECT = Path(__file__).resolve().parents[1]
SCRIPTS = ("spark-submit.sh", "test.sh", ".ci/run")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_sound(script: str) -> None:
    assert run("bash", "-n", script).returncode == 0
    assert (PROJECT / script).stat().st_mode & 0o111


def test_git_sees_the_source_root() -> None:
    if not (PROJECT / ".git").exists():
        pytest.skip("not a git checkout")
    for path in ("lib/varve/model/errors.py", "examples/company/answers.py", "tests/conftest.py"):
        assert run("git", "check-ignore", path).stdout == ""
    ours = [".venv/", ".jars/", "lake/"]
    assert run("git", "check-ignore", *ours).stdout.split() == ours


def test_the_lock_satisfies_setup_cfg() -> None:
    house = configparser.ConfigParser()
    house.read(PROJECT / "setup.cfg", encoding="utf-8")
    texts = [house["options"]["install_requires"], *house["options.extras_require"].values()]
    wanted = [Requirement(line) for text in texts for line in text.splitlines() if line and not line.startswith("#")]
    lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", lock, re.MULTILINE))
    assert len(wanted) > 10
    for requirement in wanted:
        version = locked.get(requirement.name.lower())
        assert version, f"{requirement.name} is not in requirements.lock"
        assert requirement.specifier.contains(version), f"{requirement} but the lock has {version}"
    assert "://" not in lock


@pytest.mark.parametrize(
    "words", [[], ["--nonsense"], ["nojob"], ["../jobs/sql"]], ids=["none", "option", "job", "path"]
)
def test_usage_errors_exit_2_and_list_what_there_is(words: list[str]) -> None:
    done = run("./spark-submit.sh", *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Job graphs" in done.stderr
    assert re.search(r"^  sql +\w", done.stderr, re.MULTILINE)
    assert re.search(r"^  daily +\w", done.stderr, re.MULTILINE)


def test_help_is_no_error() -> None:
    done = run("./spark-submit.sh", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage:")


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A Maven repository on loopback: (its URL, its folder)."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


@pytest.fixture
def home(tmp_path: Path, mirror: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder whose Maven settings name the mirror; no mvn on the path."""
    settings = tmp_path / "home" / ".m2" / "settings.xml"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0"><mirrors><mirror><id>ours</id>'
        f"<mirrorOf>*</mirrorOf><url>{mirror[0]}</url></mirror></mirrors></settings>"
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("DEFAULT_ARTIFACT_REPOSITORY", raising=False)
    monkeypatch.setattr(fetch_jars.shutil, "which", lambda name: None)
    return tmp_path / "home"


def test_jars_come_from_the_users_mirror_and_stale_ones_go(
    home: Path, mirror: tuple[str, Path], tmp_path: Path
) -> None:
    for jar in JARS:
        there = mirror[1] / jar.path
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes((PROJECT / ".jars" / jar.file).read_bytes())
    folder = tmp_path / "jars"
    folder.mkdir()
    (folder / "delta-spark_4.2_2.13-4.3.0.jar").write_bytes(b"old")
    (folder / JARS[0].file).write_bytes(b"half")
    fetch_jars.fetch(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(jar.file for jar in JARS)
    assert all(jar.is_at(folder / jar.file) for jar in JARS)


def test_a_jar_with_another_sum_is_refused_with_a_remedy(home: Path, mirror: tuple[str, Path], tmp_path: Path) -> None:
    there = mirror[1] / JARS[0].path
    there.parent.mkdir(parents=True)
    there.write_bytes(b"not a jar")
    with pytest.raises(StorageError, match=r"sha256 differs.*DEFAULT_ARTIFACT_REPOSITORY"):
        fetch_jars.fetch(tmp_path / "jars")
    assert list((tmp_path / "jars").iterdir()) == []
