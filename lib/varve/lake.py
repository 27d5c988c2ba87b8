"""The lake that a job works on: configuration, session, store and ledger, each opened when it is first asked for."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING

from varve.errors import ConfigError, StorageError, UsageError
from varve.ledger import Ledger
from varve.raw import RawDataset
from varve.storage import Disk, Files

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from varve.config import Config
    from varve.store import Store


class Lake:
    """One run on one lake. A run that finds nothing to do opens no session.

    config: the whole configuration; root: the lake's folder (default: as configured); job: the name in the ledger;
    run_id: default is the time and four random digits.
    """

    def __init__(
        self, config: Config, root: Path | None = None, *, job: str = "job", run_id: str | None = None
    ) -> None:
        place = config.settings.lake if root is None else str(root)
        if "://" in place:
            raise ConfigError(
                "the landing zone and the ledger need a folder", where="settings.lake", found=place,
                remedy="Mount the storage on every node (a volume, a share) and name the mounted folder.",
            )  # fmt: skip
        self.config = config
        self.root = Path(place).absolute()
        self.job = job
        self.run_id = run_id or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        self._opening = threading.Lock()
        self._session: SparkSession | None = None
        self._borrowed = False

    @property
    def env(self) -> str:
        return self.config.env

    @property
    def spark(self) -> SparkSession:
        """The session, built on first use."""
        with self._opening:
            if self._session is None:
                from pyspark.sql import SparkSession

                from varve import session

                self._borrowed = SparkSession.getActiveSession() is not None
                self._session = session.build(self.config.settings, app=f"varve {self.job}")
            return self._session

    @property
    def opened(self) -> bool:
        """Whether the run needed a session."""
        return self._session is not None

    @cached_property
    def store(self) -> Store:
        from varve.store import Store

        return Store(lambda: self.spark, str(self.root))

    @cached_property
    def files(self) -> Files:
        """The store that holds raw, the index and the leases."""
        return Disk(self.root)

    def raw(self, source: str, dataset: str) -> RawDataset:
        """The extracts of a dataset."""
        return RawDataset(self.files, source, dataset)

    @contextmanager
    def lease(self, *names: str) -> Iterator[None]:
        """Be the only run that works on these tables (`bronze.x`) and datasets (`raw.x`)."""
        yield

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.root, run_id=self.run_id, job=self.job)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only process that writes to this lake. The lock is the kernel's: a killed process holds none."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            file = (self.root / ".lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise StorageError("the lake cannot be written", where=str(self.root), found=error.strerror) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(
                    "another run is writing to this lake", where=str(self.root), found=str(_holder(file)),
                    remedy="Wait until it has ended, or end it: one lake has one writer.",
                ) from error  # fmt: skip
            holder = _Holder(os.getpid(), socket.gethostname(), self.job, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
            file.truncate(0)
            file.write(json.dumps(holder.__dict__))
            file.flush()
            yield

    def close(self) -> None:
        """End the session, if this run began one; a platform's (a notebook's, a test's) goes on."""
        with self._opening:
            if self._session is not None and not self._borrowed:
                self._session.stop()
            self._session = None


@dataclass(frozen=True)
class _Holder:
    """Who holds the lock, as written into the lock file for the message of the second one."""

    pid: int
    host: str
    job: str
    since: str

    def __str__(self) -> str:
        return f"{self.job}, process {self.pid} on {self.host}, since {self.since}"


def _holder(file: IO[str]) -> _Holder | str:
    file.seek(0)
    try:
        return _Holder(**json.loads(file.read()))
    except (ValueError, TypeError):
        return "a process that is just starting"
