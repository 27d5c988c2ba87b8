"""The columns that Varve itself puts on rows; no contract may use their names."""

from __future__ import annotations

from typing import Final

from varve.model.scope import SCOPE_COLUMNS

# What a row carries beside the columns of its contract on the way from bronze to the log.
PROVENANCE: Final = ("_manifest", "_file", "_position", "_landed_at", "_as_of")
RESCUED: Final = "_rescued"  # JSON list of {field, value, reason}: what bronze could not type
DELETED: Final = "_deleted"  # boolean: the row deletes its key
VALID_FROM: Final = "_valid_from"  # timestamp: business time of the row
SEQUENCE: Final = "_sequence"  # the row's place among those of one time; null where the contract names none
CARRIED: Final = (*SCOPE_COLUMNS, *PROVENANCE, RESCUED, DELETED, VALID_FROM, SEQUENCE)
