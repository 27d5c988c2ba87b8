"""Emulators of object stores on loopback, installed into .emulators/ on first use and started once per test run.

| kind  | what runs                                   | what it is |
|-------|---------------------------------------------|------------|
| s3    | moto's S3 behind a lock (emulators/fake_s3) | a fake     |
| azure | Azurite's blob service                      | Microsoft's emulator |

`test_storage.py` asks each whether it is a judge of put-if-absent and replace-if-unchanged before anything else.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PINNED = PROJECT / "tests" / "emulators"
INSTALLED = PROJECT / ".emulators"
ACCOUNT = "devstoreaccount1"  # Azurite's own, in its documentation, with its key
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True, slots=True)
class Emulator:
    """A bucket that is there. environment: what a process needs to reach it; port: on 127.0.0.1."""

    root: str
    port: int
    environment: Mapping[str, str]


@contextmanager
def fake_s3() -> Iterator[Emulator]:
    """An S3 with the bucket `lake`."""
    python = INSTALLED / "python"
    _install(
        "python", PINNED / "requirements.lock",
        [sys.executable, "-m", "venv", str(python)],
        [str(python / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--require-hashes", "-r", str(PINNED / "requirements.lock")],
    )  # fmt: skip
    with _started([str(python / "bin" / "python"), str(PINNED / "fake_s3.py")], r"^(\d+)$") as port:
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/lake", method="PUT")).close()
        environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        yield Emulator("s3a://lake", port, environment)


@contextmanager
def azurite() -> Iterator[Emulator]:
    """An Azure storage account with the container `lake`."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("Azurite needs node and npm, which are not here")
    folder = INSTALLED / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(PINNED / name, folder / name)
    _install(
        "npm", PINNED / "package-lock.json",
        ["npm", "ci", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund"],
    )  # fmt: skip
    command = [
        "node", str(folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"),
        "--inMemoryPersistence", "--disableTelemetry", "--silent", "--blobHost", "127.0.0.1", "--blobPort", "0",
    ]  # fmt: skip
    with _started(command, r"successfully listens on http://127.0.0.1:(\d+)") as port:
        _make_container(port)
        environment = {
            "AZURE_ENDPOINT": f"http://127.0.0.1:{port}/{ACCOUNT}",
            "AZURE_ALLOW_HTTP": "true",
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
        }
        yield Emulator(f"abfss://lake@{ACCOUNT}.dfs.core.windows.net", port, environment)


def _install(name: str, lock: Path, *commands: list[str]) -> None:
    """Once per content of the lock file; a second test run waits for the first."""
    INSTALLED.mkdir(exist_ok=True)
    stamp = INSTALLED / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}.stamp"
    with (INSTALLED / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if stamp.exists():
            return
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        stamp.touch()


@contextmanager
def _started(command: list[str], told: str) -> Iterator[int]:
    """A process that tells its port, ended afterwards."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            found = next((match for line in process.stdout if (match := re.search(told, line.strip()))), None)
            assert found, f"{command[0]} ended at once"
            yield int(found[1])
        finally:
            process.kill()


def _make_container(port: int) -> None:
    """obstore makes no containers: one signed request."""
    date, version = formatdate(usegmt=True), "2021-12-02"
    signed = (
        "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}/lake\nrestype:container"
    )
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), signed.encode(), "sha256")).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/{ACCOUNT}/lake?restype=container", method="PUT",
        headers={"x-ms-date": date, "x-ms-version": version, "Content-Length": "0",
                 "Authorization": f"SharedKey {ACCOUNT}:{signature}"},
    )  # fmt: skip
    urllib.request.urlopen(request).close()
