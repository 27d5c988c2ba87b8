"""What is wrong with the stored versions, and mending exactly that."""

from __future__ import annotations

from pyspark.sql import DataFrame

from varve import history
from varve.history_table.folding import Fold, rebuild
from varve.history_table.pending import Readable
from varve.history_table.tables import Tables
from varve.model.scope import SCOPE_COLUMNS, in_scopes


def audited(table: Tables) -> DataFrame:
    """What is wrong with the folded versions, see `history.audit`."""
    return history.audit(table.versions(), table.log(version=table.watermark()), table.policy)


def repair(table: Readable) -> Fold:
    """Mend exactly the keys that the audit finds, from the log, in one commit."""
    if reason := table.reason_to_rebuild():
        return rebuild(table, reason)
    folded = table.store.version(table.layer, table.entity)
    p, versions, mark = table.policy, table.versions(version=folded), table.watermark(version=folded)
    bad = audited(table).select(*p.identity).distinct().persist()
    try:
        scopes = bad.select(*SCOPE_COLUMNS).distinct().collect()
        if not scopes:
            return Fold()
        mended = history.timeline(history.of_identities(table.log(version=mark), bad, p.identity), p).persist()
        kept = history.of_identities(versions, bad, p.identity, keep=False).filter(in_scopes(scopes))
        removed, inserted = history.of_identities(versions, bad, p.identity).count(), mended.count()
        note = {"kind": "repair", "watermark": mark}
        commit = table.store.replace(
            kept.unionByName(mended), table.layer, table.entity, where=in_scopes(scopes), based_on=folded, note=note
        )
        mended.unpersist()
        return Fold(commit.version, inserted, removed)
    finally:
        bad.unpersist()
