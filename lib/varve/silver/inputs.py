"""What a load needs beside its rows: the code lists, and the key of the pseudonyms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from varve import codes
from varve.codes import CodeList
from varve.errors import ConfigError
from varve.privacy import PseudonymKey

if TYPE_CHECKING:
    from varve.lake import Lake


def code_lists(lake: Lake) -> Mapping[str, CodeList]:
    """Every list in conf/codes."""
    files = sorted(lake.config.codes_dir.glob("*.csv"))
    return {file.stem: codes.parse(file.stem, file.read_text(encoding="utf-8")) for file in files}


def pseudonym_key(lake: Lake) -> Callable[[], PseudonymKey]:
    """Gives the current key, which is read and sent to the executors once, when an entity needs it."""

    @cache
    def key() -> PseudonymKey:
        pseudonyms = lake.config.settings.pseudonyms
        if pseudonyms is None:
            raise ConfigError("there is no key for pseudonyms", where=f"conf/{lake.env}.yml", expected="pseudonyms: …")
        secret = pseudonyms.keys[pseudonyms.current].reveal().encode()
        return PseudonymKey(pseudonyms.current, lake.spark.sparkContext.broadcast(secret))

    return key
