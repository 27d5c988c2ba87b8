"""The guard: a snapshot that is too small, deletes too much or holds too many bad rows does not come in by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from varve.history_table.snapshots import Counts
from varve.model.contract import Guard


@dataclass(frozen=True, slots=True)
class Tally:
    """Of one scope [rows]: conformed, of these rejected, and how often each rule was broken. unread: records of a
    snapshot beside them whose key bronze could not read: they were received, and could be any key."""

    rows: int = 0
    rejected: int = 0
    unread: int = 0
    errors: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    warnings: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def unidentified(self) -> int:
        """Records received of which nobody knows the key, in bronze or after conforming."""
        keyless = (rows for rule, rows in self.errors.items() if rule.startswith("key:"))
        return self.unread + max(keyless, default=0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the guard found in one scope; refusal: why it is parked, None if it is let in; is_final: nobody can let it
    in, it can only be discarded."""

    facts: Mapping[str, object]
    refusal: str | None
    is_final: bool = False


def guarded(guard: Guard, counts: Counts, tally: Tally) -> Verdict:
    """The guard's verdict on one scope of a snapshot: its limits beside what was found.

    A record that no layer could take counts as received. While the key of one cannot be read, that a key is not there
    proves nothing."""
    received, rejected = tally.rows + tally.unread, tally.rejected + tally.unread
    rejected_share = rejected / received if received else 0.0
    facts = {
        "rows": received, "rejected": rejected, "inserted": counts.inserted, "changed": counts.changed,
        "deleted": counts.deleted, "live_before": counts.live_before, "deleted_share": round(counts.deleted_share, 6),
        "unidentified": tally.unidentified, "min_rows": guard.min_rows, "max_deleted_share": guard.max_deleted_share,
        "max_rejected_share": guard.max_rejected_share,
    }  # fmt: skip
    refusals = []
    if received < guard.min_rows:
        refusals.append(f"it has {received} rows, fewer than {guard.min_rows}")
    if counts.deleted_share > guard.max_deleted_share:
        share = f"{counts.deleted_share:.1%}, more than {guard.max_deleted_share:.1%}"
        refusals.append(f"it would delete {counts.deleted} of {counts.live_before} rows ({share})")
    elif counts.deleted and tally.unidentified:
        refusals.append(f"it would delete {counts.deleted} of {counts.live_before} rows")
    if counts.deleted and (lost := tally.unidentified):
        refusals.append(f"the key of {lost} of its records cannot be read, so that a missing key proves nothing")
    if rejected_share > guard.max_rejected_share:
        share = f"{rejected_share:.1%}, more than {guard.max_rejected_share:.1%}"
        errors = {**tally.errors, **({"key": tally.unread} if tally.unread else {})}
        broken = ", ".join(f"{rule} {n}" for rule, n in errors.items())
        refusals.append(f"{rejected} of its {received} rows are bad ({share}: {broken})")
    return Verdict(facts, " and ".join(refusals) or None)
