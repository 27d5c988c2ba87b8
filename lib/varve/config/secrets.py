"""Secrets, which configuration holds by reference only.

${env:NAME}                  the environment variable NAME
${file:/path}                the text of a file (mounted secret), without its closing line end
${databricks:scope/key}      a Databricks secret scope
${local:name}                a random key that Varve makes on first use in <lake>/.keys/name (mode 0600);
                             only with --env local: it lies beside what it protects
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import core_schema

from varve.model.errors import ConfigError
from varve.model.fields import wrong

REFERENCE: Final = re.compile(
    r"\$\{((env):([A-Za-z_][A-Za-z0-9_]*)|(file):([^{}]+)|(databricks):([^/{}]+/[^/{}]+)|(local):([a-z][a-z0-9_]*))\}"
)
EXPECTED: Final = "a reference: ${env:NAME}, ${file:/path}, ${databricks:scope/key} or ${local:name}"


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A reference to a secret. Shows its reference everywhere, its value nowhere but in `reveal()`, and keeps none.

    lake: the folder that holds the keys of `${local:…}`.
    """

    reference: str
    lake: Path | None = field(default=None, compare=False)

    @property
    def kind(self) -> str:
        """env, file, databricks or local."""
        return self.reference[2:].partition(":")[0]

    def in_lake(self, lake: Path) -> Secret:
        """The same reference, with the lake that holds the keys of `${local:…}`."""
        return Secret(self.reference, lake)

    def reveal(self) -> str:
        """The value; raises ConfigError naming the reference and the remedy when there is none."""
        kind, _, name = self.reference[2:-1].partition(":")
        if kind == "env":
            return self._from_environment(name)
        if kind == "file":
            return self._from_file(Path(name).expanduser())
        return self._from_databricks(*name.split("/")) if kind == "databricks" else self._from_lake(name)

    def _from_environment(self, variable: str) -> str:
        value = os.environ.get(variable, "")
        if not value:
            raise self._missing(f"the environment variable {variable} is not set", f"Set {variable}.")
        return value

    def _from_file(self, path: Path) -> str:
        try:
            value = path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise self._missing(f"{path} cannot be read: {reason}", f"Put the secret into {path}.") from None
        if not value:
            raise self._missing(f"{path} is empty", f"Put the secret into {path}.")
        return value

    def _from_databricks(self, scope: str, key: str) -> str:
        remedy = f"Run on Databricks, and let the job's identity read the key {key} of the secret scope {scope}."
        try:
            from databricks.sdk.runtime import dbutils  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            raise self._missing("this is not Databricks", remedy) from None
        try:
            return str(dbutils.secrets.get(scope=scope, key=key))
        except Exception as error:  # its class differs between runtimes, and its text may say too much
            raise self._missing(f"Databricks refused with {type(error).__name__}", remedy) from None

    def _from_lake(self, name: str) -> str:
        if self.lake is None:
            raise self._missing("no local lake is known", "Give a lake in a local folder.")
        return self._from_file(_key_file(self.lake / ".keys" / name))

    def _missing(self, found: str, remedy: str) -> ConfigError:
        return ConfigError("a secret is not available", where=self.reference, found=found, remedy=remedy)

    def __repr__(self) -> str:
        return f"Secret('{self.reference}')"

    @classmethod
    def _parse(cls, value: Any) -> Secret:
        if isinstance(value, Secret):
            return value
        if not isinstance(value, str) or not REFERENCE.fullmatch(value):
            # the value may be a secret: it never enters the message
            raise wrong("a secret must not stand in the configuration", expected=EXPECTED)
        return cls(value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        description = f"A secret, by reference: {EXPECTED}."
        shape = {"type": "string", "pattern": f"^{REFERENCE.pattern}$", "description": description}
        as_text = PlainSerializer(lambda secret: secret.reference)
        return handler.generate_schema(Annotated[Any, PlainValidator(cls._parse), as_text, WithJsonSchema(shape)])


def _key_file(path: Path) -> Path:
    """The file of a local key, made with a random key when absent; of several writers at once the first one wins."""
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with NamedTemporaryFile("w", dir=path.parent, encoding="ascii") as draft:  # mode 0600
            draft.write(secrets.token_hex(32) + "\n")
            draft.flush()
            os.fsync(draft.fileno())
            with suppress(FileExistsError):
                os.link(draft.name, path)
    except OSError as error:
        remedy = "Let the folder be writable, or name the key by ${env:…} in the settings."
        found = error.strerror
        raise ConfigError("a local key cannot be made", where=str(path), found=found, remedy=remedy) from None
    return path
