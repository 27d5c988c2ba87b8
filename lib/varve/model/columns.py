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

# What a row of the log (`<entity>_changes`) and of the versions of an entity has beside its scope and its own columns.
CHANGE_COLUMNS: Final = ("op", "valid_from", "sequence", "recorded_at", "manifest", "contract_version")
VERSION_COLUMNS: Final = (
    "valid_from", "valid_to", "is_current", "is_deleted", "recorded_at", "sequence",
    "version_key", "row_hash", "last_position", "is_open",
)  # fmt: skip

# Names that a contract of bronze, and one of silver, cannot give to a column: a contract's own never begin with `_`.
RESERVED_IN_BRONZE: Final = frozenset(SCOPE_COLUMNS)
RESERVED: Final = frozenset((*SCOPE_COLUMNS, *CHANGE_COLUMNS, *VERSION_COLUMNS, "record", "detail"))
