"""The guard: a snapshot that is too small, deletes too much or holds too many bad rows does not come in by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from varve.history_table.snapshots import Counts
from varve.model.contract import Guard


@dataclass(frozen=True, slots=True)
class Tally:
    """Of one scope [rows]: conformed, of these rejected, and how often each rule was broken."""

    rows: int = 0
    rejected: int = 0
    errors: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    warnings: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the guard found in one scope; refusal: why it is parked, None if it is let in; is_final: nobody can let it
    in, it can only be discarded."""

    facts: Mapping[str, object]
    refusal: str | None
    is_final: bool = False


def guarded(guard: Guard, counts: Counts, tally: Tally) -> Verdict:
    """The guard's verdict on one scope of a snapshot: its limits beside what was found."""
    rejected_share = tally.rejected / tally.rows if tally.rows else 0.0
    facts = {
        "rows": tally.rows, "rejected": tally.rejected, "inserted": counts.inserted, "changed": counts.changed,
        "deleted": counts.deleted, "live_before": counts.live_before, "deleted_share": round(counts.deleted_share, 6),
        "min_rows": guard.min_rows, "max_deleted_share": guard.max_deleted_share,
        "max_rejected_share": guard.max_rejected_share,
    }  # fmt: skip
    refusals = []
    if tally.rows < guard.min_rows:
        refusals.append(f"it has {tally.rows} rows, fewer than {guard.min_rows}")
    if counts.deleted_share > guard.max_deleted_share:
        share = f"{counts.deleted_share:.1%}, more than {guard.max_deleted_share:.1%}"
        refusals.append(f"it would delete {counts.deleted} of {counts.live_before} rows ({share})")
    if rejected_share > guard.max_rejected_share:
        share = f"{rejected_share:.1%}, more than {guard.max_rejected_share:.1%}"
        broken = ", ".join(f"{rule} {n}" for rule, n in tally.errors.items())
        refusals.append(f"{tally.rejected} of its {tally.rows} rows are bad ({share}: {broken})")
    return Verdict(facts, " and ".join(refusals) or None)
