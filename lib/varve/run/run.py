"""The lake that a job works on: configuration, session, store and ledger, each opened when it is first asked for."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from varve.model.errors import ConfigError, StorageError
from varve.ops.ledger import Killed, Ledger
from varve.raw import RawDataset
from varve.storage import Disk, Files, HeldLeases, Holder, Leases

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from varve.config import Config
    from varve.storage.delta import Store


class Run:
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
        self.tell: Callable[[str], None] = lambda _: None  # what a person should know while the run goes on
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

                from varve.spark import session

                self._borrowed = SparkSession.getActiveSession() is not None
                self._session = session.build(self.config.settings, app=f"varve {self.job}")
            return self._session

    @property
    def opened(self) -> bool:
        """Whether the run needed a session."""
        return self._session is not None

    @cached_property
    def store(self) -> Store:
        """The Delta tables of the lake; asks for the session when a job is needed."""
        from varve.storage.delta import Store

        return Store(lambda: self.spark, str(self.root))

    @cached_property
    def files(self) -> Files:
        """The store that holds raw, the index and the leases."""
        return Disk(self.root)

    def raw(self, source: str, dataset: str) -> RawDataset:
        """The extracts of a dataset."""
        return RawDataset(self.files, source, dataset)

    @cached_property
    def leases(self) -> Leases:
        """Who works on what; whoever waits says for whom through `tell`."""
        limits = self.config.settings.leases
        return Leases(
            self.files, holder=Holder.here(job=self.job, run_id=self.run_id), seconds=limits.seconds,
            wait=limits.wait_seconds, tell=lambda text: self.tell(text),
        )  # fmt: skip

    def lease(self, *names: str) -> AbstractContextManager[HeldLeases]:
        """Be the only run that works on these tables (`bronze.x`) and datasets (`raw.x`)."""
        return self.leases.held(*names)

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.root, run_id=self.run_id, job=self.job, leases=self.leases)

    def recover(self) -> None:
        """Take in what killed runs left: their rows of the ledger, and what they recorded before commits they never
        made."""
        self.ledger.recover(self._mend)

    def _mend(self, killed: Killed) -> bool:
        """Remove what a killed run recorded before commits it never made; False while another run holds the table."""
        from varve.raw.batch import forget_uncommitted, recorded

        for table in recorded(self.root, killed.run_id):
            layer, _, name = table.partition(".")
            try:
                with self.leases.held(table, wait=0):  # so that nobody is just about to commit one of these
                    forget_uncommitted(self.store, self.root, layer, name, killed.run_id)
            except StorageError:
                return False
        return True

    def close(self) -> None:
        """End the session, if this run began one; a platform's (a notebook's, a test's) goes on."""
        with self._opening:
            if self._session is not None and not self._borrowed:
                self._session.stop()
            self._session = None
