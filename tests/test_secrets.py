"""Secrets: by reference only, shown nowhere, resolved with a clear word when they are missing."""

from __future__ import annotations

import copy
import json
import pickle
import stat
import threading
import traceback
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from example_conf import LOCAL, edited
from varve.config import Secret, Settings, load
from varve.config.settings import Spark
from varve.model.errors import ConfigError
from varve.spark.session import submit_arguments

VALUE = "hunter2hunter2"


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return edited(tmp_path)


def test_a_secret_shows_its_reference_and_never_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARVE_TEST_KEY", VALUE)
    secret = Secret("${env:VARVE_TEST_KEY}")
    settings = Settings.model_validate({"pseudonyms": {"current": "k1", "keys": {"k1": secret}}})
    assert secret.reveal() == VALUE
    shown = [repr(secret), str(secret), f"{settings!r} {settings}"]
    shown += [settings.model_dump_json(), str(settings.model_dump())]
    shown += [str(pickle.dumps(copy.deepcopy(s))) for s in (secret, settings)]
    assert [text for text in shown if VALUE in text] == []
    assert all("${env:VARVE_TEST_KEY}" in text for text in shown)
    assert pickle.loads(pickle.dumps(secret)).reveal() == VALUE
    assert Settings.model_validate(json.loads(settings.model_dump_json())) == settings


@pytest.mark.parametrize(("old", "new"), [
    pytest.param('"${env:VARVE_TEST_KEY}"', VALUE, id="a key"),
    pytest.param('{k1: "${env:VARVE_TEST_KEY}"}', VALUE, id="in place of the keys"),
    pytest.param('{k1: "${env:VARVE_TEST_KEY}"}', "{k1: " + VALUE, id="in broken YAML"),
    pytest.param('"${env:VARVE_TEST_KEY}"', f"[{VALUE}]", id="in a list"),
    pytest.param('"${env:VARVE_TEST_KEY}"', "${env:" + VALUE, id="in half a reference"),
    pytest.param('"${env:VARVE_TEST_KEY}"', "x" + VALUE + "${env:A}", id="before a reference"),
    pytest.param("  master: local[2]", f"  conf: {{fs.s3a.secret.key: {VALUE}}}", id="a Spark setting"),
    pytest.param("lake: lake", f"lake: lake\npassword: {VALUE}", id="an unknown field"),
])  # fmt: skip
def test_a_literal_secret_is_refused_and_not_repeated(conf: Path, old: str, new: str) -> None:
    edited(conf.parent, LOCAL, old, new)
    with pytest.raises(ConfigError) as caught:
        load(conf)
    assert VALUE not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(("reference", "expected"), [
    pytest.param("${env:VARVE_NOT_SET}", "${env:VARVE_NOT_SET}: a secret is not available; "
                 "found the environment variable VARVE_NOT_SET is not set. Set VARVE_NOT_SET.", id="env"),
    pytest.param("${file:/none}", "${file:/none}: a secret is not available; "
                 "found /none cannot be read: No such file or directory. Put the secret into /none.", id="file"),
    pytest.param("${databricks:s/k}", "${databricks:s/k}: a secret is not available; found this is not Databricks. "
                 "Run on Databricks, and let the job's identity read the key k of the secret scope s.",
                 id="databricks"),
    pytest.param("${local:x}", "${local:x}: a secret is not available; found no local lake is known. "
                 "Give a lake in a local folder.", id="local"),
])  # fmt: skip
def test_a_missing_secret_names_its_reference_and_the_remedy(reference: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Secret(reference).reveal()
    assert str(caught.value) == expected


@pytest.mark.parametrize("text", [
    "", "x", "${env:}", "${env:A-B}", "${vault:a}", "${env:A}${env:B}", " ${env:A}", "${file:}",
    "${databricks:a}", "${databricks:a/b/c}", "${local:../x}", "${local:X}",
])  # fmt: skip
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(ValueError, match="must not stand in the configuration"):
        TypeAdapter(Secret).validate_python(text)


def test_a_file_gives_its_text_without_the_line_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b" a b \r\n")
    assert Secret(f"${{file:{tmp_path}/key}}").reveal() == " a b "
    (tmp_path / "key").write_bytes(b"\n")
    with pytest.raises(ConfigError, match="is empty"):
        Secret(f"${{file:{tmp_path}/key}}").reveal()


def test_a_local_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    secret = Secret("${local:pseudonym}", lake=tmp_path / "lake")
    first = secret.reveal()
    path = tmp_path / "lake" / ".keys" / "pseudonym"
    assert path.read_text(encoding="ascii") == f"{first}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert Secret("${local:pseudonym}", lake=tmp_path / "lake").reveal() == first
    assert Secret("${local:pseudonym}", lake=tmp_path / "other").reveal() != first


def test_writers_at_once_agree_on_one_local_key(tmp_path: Path) -> None:
    start = threading.Barrier(8)
    found: list[str] = []

    def reveal() -> None:
        start.wait()
        found.append(Secret("${local:k}", lake=tmp_path).reveal())

    threads = [threading.Thread(target=reveal) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in (tmp_path / ".keys").iterdir()] == ["k"]


def test_spark_settings_may_refer_to_secrets(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARVE_TEST_KEY", VALUE)
    edited(conf.parent, LOCAL, "  master: local[2]", "  conf: {fs.s3a.secret.key: '${env:VARVE_TEST_KEY}', a: b}")
    spark = load(conf).settings.spark
    assert (spark.plain, spark.revealed()) == ({"a": "b"}, {"fs.s3a.secret.key": VALUE})
    assert VALUE not in repr(spark)


def test_no_command_line_shows_a_secret_of_a_spark_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARVE_TEST_KEY", VALUE)
    spark = Spark.model_validate({"conf": {"fs.s3a.secret.key": "${env:VARVE_TEST_KEY}", "spark.x": "y"}})
    words = submit_arguments(spark)
    assert "spark.x=y" in words
    assert not [word for word in words if VALUE in word or "fs.s3a.secret.key" in word]
