"""What a row of bronze says of where it is from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from varve import raw
from varve.raw import Manifest
from varve.storage.delta import Store

_PROVENANCE: Final = (
    "scope_country string, scope_entity string, _manifest string, _file string, _landed_at timestamp, "
    "_as_of timestamp, _part string"
)


def of_extracts(store: Store, records: DataFrame, extracts: Sequence[Manifest]) -> DataFrame:
    """The records, each with what its extract says of all of its records."""
    if len(extracts) == 1:
        [one] = extracts
        values = {
            "scope_country": one.scope_country, "scope_entity": one.scope_entity, "_manifest": one.id,
            "_file": one.file, "_landed_at": one.landed_at, "_as_of": one.as_of,
        }  # fmt: skip
        return records.withColumns({name: F.lit(value) for name, value in values.items()})
    rows = [
        (m.scope_country, m.scope_entity, m.id, m.file, m.landed_at, m.as_of, part)
        for m in extracts
        for part in raw.parts(m)
    ]
    return records.join(F.broadcast(store.frame(rows, _PROVENANCE)), raw.PART)
