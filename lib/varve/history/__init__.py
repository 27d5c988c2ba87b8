"""History: the versions of an entity as a pure function of the changes that were observed. PURE.

`law` says what is right. `following` makes it cheap for keys that only go on; `comparing` finds what a snapshot says
that the log does not; `expiring` and `auditing` speak for themselves. All must give what the law gives.
Semantics with pictures and examples: docs/history.md.

Shapes, beside the entity's own columns (scope_country, scope_entity, keys, attributes, overwritten columns):
* changes (the log): op string [upsert, delete, and the corrections of `policy`], valid_from timestamp, sequence [any
  orderable type, null = lowest], recorded_at timestamp, manifest string, contract_version string.
* versions: valid_from timestamp, valid_to timestamp [null = last], is_current, is_deleted, recorded_at timestamp and
  sequence [of the change that opened it], version_key bigint, row_hash bigint [of the tracked attributes],
  last_position struct<valid_from, sequence, is_whole> [of the last row: the greatest position in the key's log, and
  whether the versions say all that the log says], is_open boolean [valid_to is null].
"""

from varve.history.auditing import audit
from varve.history.comparing import bucket, checksum, compared
from varve.history.expiring import before, expired
from varve.history.following import OLD_KEY, amended, continues, course, said_by, touched
from varve.history.law import FORMAT, of_identities, quarantined, restoration, retraction, row_hash, standing, timeline
from varve.history.policy import DELETE, RESTORE, RESTORE_DELETE, UPSERT, Policy
from varve.history.reading import AUTO_CDC_ROWS, as_known, as_of, auto_cdc, auto_cdc_columns, is_valid_at, known

__all__ = [
    "AUTO_CDC_ROWS", "DELETE", "FORMAT", "OLD_KEY", "RESTORE", "RESTORE_DELETE", "UPSERT",
    "Policy", "amended", "as_known", "as_of", "audit", "auto_cdc", "auto_cdc_columns", "before",
    "bucket", "checksum", "compared", "continues", "course", "expired", "is_valid_at", "known", "of_identities",
    "quarantined", "restoration", "retraction", "row_hash", "said_by", "standing", "timeline", "touched",
]  # fmt: skip
