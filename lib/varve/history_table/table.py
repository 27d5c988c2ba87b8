"""The history of one entity: append, read, fold. `history` says what is right, here it is made cheap.

This is the door of the room. Behind it, each file imports only what stands left of it:

tables, positions | rearrangements, snapshot_log | horizon, pending | reassertion | folding | widening, snapshots |
expiry, maintenance, planning, repair | table
"""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import DataFrame

from varve import history
from varve.history_table import expiry, folding, horizon, maintenance, planning, reassertion, repair, snapshots
from varve.history_table.expiry import Expiry
from varve.history_table.folding import Fold
from varve.history_table.maintenance import Compaction
from varve.history_table.pending import Readable
from varve.history_table.planning import HistoryPlan
from varve.history_table.snapshot_log import Snapshot
from varve.history_table.snapshots import Comparison
from varve.history_table.widening import widen_log
from varve.model.clock import utc
from varve.raw.batch import Batch, transaction
from varve.storage.commits import Commit


class HistoryTable(Readable):
    """The history of one entity."""

    # --- reading ----------------------------------------------------------------------------------------------

    def as_of(self, valid_at: datetime) -> DataFrame:
        """The live rows that were valid at a moment (UTC where it has no offset).

        Raises ContractError when it is before the horizon."""
        valid_at = utc(valid_at)
        horizon.must_not_hide(horizon.of(self), self.entity, valid_at)
        return history.as_of(self.read(), valid_at)

    def as_known(self, valid_at: datetime, known_at: datetime) -> DataFrame:
        """The live rows that were valid at `valid_at` by what had been recorded by `known_at` (both UTC where they have
        no offset).

        Raises ContractError when the horizon has merged what would answer it.
        """
        valid_at, known_at, found = utc(valid_at), utc(known_at), horizon.of(self)
        horizon.must_not_hide(found, self.entity, valid_at)
        horizon.must_not_merge(found, self.entity, known_at)
        return history.as_known(self.log(), valid_at, known_at, self.policy)

    def known(self, known_at: datetime) -> DataFrame:
        """The log as it stood at a moment (UTC where it has no offset): `history.timeline` of it is what was believed.

        Raises ContractError when the horizon has merged what would answer it."""
        known_at = utc(known_at)
        horizon.must_not_merge(horizon.of(self), self.entity, known_at)
        return history.known(self.log(), known_at)

    # --- appending --------------------------------------------------------------------------------------------

    def append(self, changes: DataFrame, batch: Batch, *, is_empty: bool = False) -> Commit:
        """Log changes as a batch. Raises OvertakenError when its number is taken: by itself, or by another run.

        Reads no history, but for the keys whose changes come from before a snapshot that is in the log already.
        changes: identity, payload and CHANGE_COLUMNS, those before the horizon are left out; is_empty: the caller
        has counted, there is no row: only what it holds is logged, without a Spark job.
        """
        if is_empty and self.store.exists(self.layer, self.log_table):
            return self.store.advance(
                self.layer, self.log_table, txn=transaction(self.layer, self.log_table), version=batch.number,
                is_fenced=True, note={**self.log_note("changes"), **batch.note()},
            )  # fmt: skip
        changes = horizon.ahead(self, changes if self.schema is None else self.shaped(changes))
        widen_log(self)
        again = reassertion.reassertions(self, changes)
        rows = self.as_log(changes) if again is None else self.as_log(changes).unionByName(self.as_log(again))
        return self.append_batch(rows, batch, "changes")

    def compare(self, rows: DataFrame, snapshot: Snapshot, excluded: DataFrame | None = None) -> Comparison:
        """A snapshot beside the state before it; writes nothing. See `snapshots.compare`.

        Raises ContractError when it is before the horizon."""
        horizon.must_not_hide_snapshot(self, snapshot)
        return snapshots.compare(self, rows, snapshot, excluded)

    def append_snapshot(self, comparison: Comparison, batch: Batch) -> Commit:
        """Log a snapshot as a batch. Raises OvertakenError when its number is taken."""
        return snapshots.append_snapshot(self, comparison, batch)

    # --- folding and upkeep -----------------------------------------------------------------------------------

    def fold(self) -> Fold:
        """Bring the versions up to the log in one commit that carries the watermark, see `folding.fold`."""
        return folding.fold(self)

    def rebuild(self, reason: str | None = None) -> Fold:
        """Rebuild the versions from the whole log, in one commit. reason: why, when it is no first load."""
        return folding.rebuild(self, reason)

    def plan(self, changes: DataFrame) -> HistoryPlan:
        """What appending and folding `changes` would do; nothing is written."""
        return planning.planned(self, changes)

    def expire(self, before: datetime) -> Expiry:
        """Give up what lies before a moment (aware), see `expiry.expire`."""
        return expiry.expire(self, before)

    def compact(self) -> Compaction:
        """Put the small files of the log and of the versions together, see `maintenance.compact`."""
        return maintenance.compact(self)

    def audit(self) -> DataFrame:
        """What is wrong with the folded versions, see `history.audit`."""
        return repair.audited(self)

    def repair(self) -> Fold:
        """Mend exactly the keys that the audit finds, from the log, in one commit."""
        return repair.repair(self)
