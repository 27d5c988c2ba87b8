"""PURE. Personal columns become keyed pseudonyms on the way to silver: the key's version and 64 digits, `k1:9f…`.

The pseudonym is the HMAC-SHA256 of (domain, text): equal values of one domain give equal pseudonyms in every table, so
tables still join; equal texts of two domains do not. The domain is the subject of the contract (debtor, guarantor),
else the column's name. The same key, domain and value give the same pseudonym for ever, so history does not reopen.

Spark has no HMAC, and one built from `sha2` would write the key into plans. Here the key reaches the executors as a
broadcast and is read there, inside a Python function over Arrow arrays: plans show the function's name and no more.
Free text is treated alike for now: unreadable in silver, until it is encrypted per subject.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf
from pyspark.sql.types import StringType, StructField, StructType

from varve.model.contract import Column as ContractColumn
from varve.model.contract import Contract
from varve.model.errors import ConfigError


class SecretBytes(Protocol):
    """What Spark's `Broadcast[bytes]` is here: it travels as a reference, `value` is read where the rows are."""

    @property
    def value(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class PseudonymKey:
    """version: stands in front of every pseudonym made with the key; secret: a broadcast of its bytes."""

    version: str
    secret: SecretBytes

    def __repr__(self) -> str:
        return f"PseudonymKey({self.version})"


def personal_columns(contract: Contract) -> tuple[str, ...]:
    """Names of the personal columns, which must stay out of statistics, partitions and clustering."""
    return tuple(column.name for column in contract.columns if column.personal is not None)


def statistics_columns(contract: Contract) -> tuple[str, ...]:
    """Names of the columns that files may keep minimum and maximum of: all that are not personal."""
    return tuple(column.name for column in contract.columns if column.personal is None)


def silver_schema(contract: Contract) -> StructType:
    """The contract's columns as they lie in silver: personal columns and columns with a code list are strings."""
    text = {column.name for column in contract.columns if column.personal is not None or column.codes is not None}
    return StructType(
        [StructField(f.name, StringType() if f.name in text else f.dataType) for f in contract.schema().fields]
    )


def domain(column: ContractColumn) -> str:
    """In which equal values get equal pseudonyms: whose data it is, else the column itself."""
    subject = column.personal.subject if column.personal is not None else None
    return subject or column.name


def pseudonymised(rows: DataFrame, contract: Contract, key: PseudonymKey | None) -> DataFrame:
    """The rows with every personal column of the contract replaced by its pseudonym (string); null stays null.

    Text is put into Unicode's canonical form (NFC) first; other types count by Spark's text of their value.
    Raises ConfigError if the contract has personal columns and there is no key.
    """
    personal = {column.name: column for column in contract.columns if column.personal is not None}
    if not personal:
        return rows
    if key is None:
        raise ConfigError(
            "there are personal columns and no key for pseudonyms", where=f"contract {contract.id}",
            found=", ".join(personal), remedy="Name a key under `pseudonyms` in the settings.",
        )  # fmt: skip
    pseudonyms = {
        name: pseudonym(F.col(f"`{name}`"), domain(column), key).alias(name) for name, column in personal.items()
    }
    return rows.select(*(pseudonyms.get(name, F.col(f"`{name}`")) for name in rows.columns))


def pseudonym(column: Column, within: str, key: PseudonymKey) -> Column:
    """The pseudonym of a column's values in a domain."""
    udf: Callable[..., Callable[[Column], Column]] = arrow_udf  # its stubs want the deprecated functionType
    return udf(_hmac_of(within, key.version, key.secret), "string")(column.cast("string"))


def _hmac_of(within: str, version: str, secret: SecretBytes) -> Callable[[Any], Any]:
    """The function over an Arrow array. It names nothing of this package, so executors need not have it."""
    import hmac
    import unicodedata

    import pyarrow as pa

    prefix = len(within.encode()).to_bytes(4, "big") + within.encode()  # with its length: no two pairs run together

    def pseudonym(texts):  # type: ignore[no-untyped-def]
        key = secret.value

        def one(text: str) -> str:
            canonical = text if text.isascii() else unicodedata.normalize("NFC", text)
            return f"{version}:{hmac.digest(key, prefix + canonical.encode(), 'sha256').hex()}"

        return pa.array([None if text is None else one(text) for text in texts.to_pylist()], pa.string())

    pseudonym.__annotations__ = {"texts": pa.Array, "return": pa.Array}  # Spark reads them as objects, not as text
    return pseudonym
