"""Settings of one environment: `conf/local.yml`, `conf/cluster.yml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, Strict, model_validator

from varve.config.documents import is_secretive
from varve.config.secrets import EXPECTED, REFERENCE, Secret
from varve.config.sources import absolute
from varve.model.errors import ConfigError
from varve.model.fields import Model, ModuleName, Name, wrong


def _without_secrets(conf: Mapping[str, str]) -> Mapping[str, str]:
    """Spark settings whose names speak of secrets hold references."""
    for name, text in conf.items():
        if is_secretive((name,)) and not REFERENCE.fullmatch(text):
            raise wrong("a secret must not stand in the configuration", expected=EXPECTED, field=name)
    return conf


class Spark(Model):
    """The Spark session of this environment."""

    master: str | None = None
    """Spark master URL, such as local[2] or spark://host:7077; absent: what spark-submit or the platform gives."""
    driver_memory: Annotated[str, Field(pattern=r"^(auto|[1-9][0-9]*[mg])$")] = "auto"
    """auto follows the machine's memory; else such as 4g."""
    conf: Annotated[Mapping[str, str], AfterValidator(_without_secrets)] = Field(default_factory=dict)
    """Further Spark settings. A value may be a reference to a secret, and must be one where the name speaks of one."""

    @property
    def plain(self) -> dict[str, str]:
        """The settings that are no secrets, which a command line may show."""
        return {name: text for name, text in self.conf.items() if not REFERENCE.fullmatch(text)}

    def revealed(self) -> dict[str, str]:
        """The settings that are secrets, with their values: for the session's builder only, after the JVM started."""
        return {name: Secret(text).reveal() for name, text in self.conf.items() if REFERENCE.fullmatch(text)}


class Pseudonyms(Model):
    """Keys of the pseudonyms of personal columns. A pseudonym carries the version of its key."""

    current: Name
    """The version of the key that new pseudonyms are made with."""
    keys: Annotated[Mapping[Name, Secret], Field(min_length=1)]
    """version -> key, by reference; old versions stay as long as pseudonyms made with them exist."""

    @model_validator(mode="after")
    def _current_is_a_key(self) -> Pseudonyms:
        if self.current not in self.keys:
            raise wrong("current names no key", found=self.current, expected=", ".join(self.keys), field="current")
        return self


class BatchLimits(Model):
    """How much one commit of a table takes in; a single extract that is larger is one commit all the same."""

    size: Annotated[str, Field(pattern=r"^[1-9][0-9]*[kmgt]$")] = "4g"
    """Of the records in raw, which are compressed."""
    manifests: Annotated[int, Strict(), Field(ge=1)] = 1000

    @property
    def bytes(self) -> int:
        """The size in bytes."""
        return int(self.size[:-1]) << 10 * ("kmgt".index(self.size[-1]) + 1)


class LeaseLimits(Model):
    """How runs that want the same table wait for each other."""

    seconds: Annotated[float, Field(gt=0)] = 30
    """A run that gives no sign of life for so long is taken to be dead."""
    wait_seconds: Annotated[float, Field(ge=0)] = 3600
    """How long a run waits for another one before it gives up (exit 4)."""


class Settings(Model):
    """Where the lake is and how big its engine may be. Paths are relative to the folder that holds `conf`."""

    lake: Annotated[str, Field(min_length=1)] = "lake"
    """The lake's root: a folder, or a URL such as abfss://… or s3a://…"""
    spark: Spark = Field(default_factory=Spark)
    batch: BatchLimits = Field(default_factory=BatchLimits)
    leases: LeaseLimits = Field(default_factory=LeaseLimits)
    pseudonyms: Pseudonyms | None = None
    """Needed as soon as a contract has personal columns; with --env local a key is made in the lake when absent."""
    transforms: tuple[ModuleName, ...] | None = None
    """Modules of the company's own: in the folder that holds conf, below its lib, or installed; absent: the folder
    `transforms` beside conf or below its lib, if there is one."""
    connectors: tuple[str, ...] = ()
    """Modules with kinds of sources of your own; looked for in the folder that holds conf, below its lib, installed."""

    def completed(self, folder: Path, env: str, lake: str | None) -> Settings:
        """These settings with an absolute lake, and for `local` with a key of its own when they name none.

        folder: holds conf; lake: of the command line, relative to the current folder. Raises ConfigError for a lake
        in a folder whose name not every library can take."""
        root = absolute(self.lake, folder) if lake is None else lake
        if "://" not in root:
            root = str(Path(root).absolute())
            _refuse_impossible(root)
        pseudonyms = self.pseudonyms
        if pseudonyms is None and env == "local":
            pseudonyms = Pseudonyms(current="k1", keys={"k1": Secret("${local:pseudonym}")})
        if pseudonyms is not None and "://" not in root:
            keys = {version: secret.in_lake(Path(root)) for version, secret in pseudonyms.keys.items()}
            pseudonyms = pseudonyms.model_copy(update={"keys": keys})
        return self.model_copy(update={"lake": root, "pseudonyms": pseudonyms})


def _refuse_impossible(lake: str) -> None:
    """Delta's libraries take a folder for a URL or a pattern where it has one of these."""
    if found := re.search(r"[#?*^|`\\\[\]{}]|%[0-9A-Fa-f]{2}", lake):
        raise ConfigError(
            "the folder of the lake has a name that not every reader of Delta can take", where="lake", found=lake,
            expected=f"a path without {found[0]}", remedy="Name another folder with --lake DIR.",
        )  # fmt: skip
