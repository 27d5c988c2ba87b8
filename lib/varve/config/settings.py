"""Settings of one environment: `conf/local.yml`, `conf/cluster.yml`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from varve.config.models import Model, Name
from varve.config.secrets import Secret


class Spark(Model):
    """The Spark session of this environment."""

    master: str | None = None
    """Spark master URL, such as local[2] or spark://host:7077; absent: what spark-submit or the platform gives."""
    driver_memory: Annotated[str, Field(pattern=r"^(auto|[1-9][0-9]*[mg])$")] = "auto"
    """auto follows the machine's memory; else such as 4g."""
    conf: Mapping[str, str] = Field(default_factory=dict)
    """Further Spark settings, given as they are."""


class Pseudonyms(Model):
    """Keys of the pseudonyms of personal columns. A pseudonym carries the version of its key."""

    current: Name
    """The version of the key that new pseudonyms are made with."""
    keys: Annotated[Mapping[Name, Secret], Field(min_length=1)]
    """version -> key, by reference; old versions stay as long as pseudonyms made with them exist."""

    @model_validator(mode="after")
    def _current_is_a_key(self) -> Pseudonyms:
        if self.current not in self.keys:
            raise PydanticCustomError(
                "reference", "current names no key",
                {"found": self.current, "expected": ", ".join(self.keys), "field": "current"},
            )  # fmt: skip
        return self


def _local_pseudonyms() -> Pseudonyms:
    return Pseudonyms(current="k1", keys={"k1": Secret("${local:pseudonym}")})


class Settings(Model):
    """Where the lake is and how big its engine may be. Paths are relative to the folder that holds `conf`."""

    lake: Annotated[str, Field(min_length=1)] = "lake"
    """The lake's root: a folder, or a URL such as abfss://… or s3a://…"""
    spark: Spark = Field(default_factory=Spark)
    pseudonyms: Pseudonyms | None = None
    """Needed as soon as a contract marks a column as personal; with --env local a key is made in the lake when absent."""

    def for_local_use(self) -> Settings:
        """These settings with the default key of a lake on one machine, when they name none."""
        return self if self.pseudonyms is not None else self.model_copy(update={"pseudonyms": _local_pseudonyms()})


Environment = Literal["local", "cluster"]
