"""What a load needs beside its rows: the code lists, and the key of the pseudonyms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from varve.model.errors import ConfigError
from varve.privacy.pseudonyms import PseudonymKey
from varve.rules import codes
from varve.rules.codes import CodeList

if TYPE_CHECKING:
    from varve.run.run import Run


def code_lists(run: Run) -> Mapping[str, CodeList]:
    """Every list in conf/codes."""
    files = sorted(run.config.codes_dir.glob("*.csv"))
    return {file.stem: codes.parse(file.stem, file.read_text(encoding="utf-8")) for file in files}


def pseudonym_key(run: Run) -> Callable[[], PseudonymKey]:
    """Gives the current key, which is read and sent to the executors once, when an entity needs it."""

    @cache
    def key() -> PseudonymKey:
        pseudonyms = run.config.settings.pseudonyms
        if pseudonyms is None:
            raise ConfigError("there is no key for pseudonyms", where=f"conf/{run.env}.yml", expected="pseudonyms: …")
        secret = pseudonyms.keys[pseudonyms.current].reveal().encode()
        return PseudonymKey(pseudonyms.current, run.spark.sparkContext.broadcast(secret))

    return key
