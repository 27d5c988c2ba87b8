"""Types that a contract widened, in a log that was written under the narrower ones."""

from __future__ import annotations

from varve.history_table import folding
from varve.history_table.pending import Readable
from varve.history_table.rearrangements import WIDENED
from varve.model.scope import SCOPE_COLUMNS


def widen_log(table: Readable) -> None:
    """Rewrite the log when the contract widened a type: its files carry one type per column. Rare.

    Pending changes are folded first: the rewrite adds no change."""
    if table.schema is None or not table.store.exists(table.layer, table.log_table):
        return
    logged = table.store.read(table.layer, table.log_table)
    types = {f.name: f.dataType for f in table.schema}
    wider = [f for f in logged.schema if types.get(f.name, f.dataType) != f.dataType]
    if not wider:
        return
    folding.fold(table)
    head = table.head()
    table.store.replace(
        logged.select(*(table.as_contracted(f) if f in wider else f.name for f in logged.schema)),
        table.layer, table.log_table, partition_by=(*SCOPE_COLUMNS, "record"),
        properties=table.log_properties(),
        based_on=head, note={"kind": WIDENED, "columns": sorted(f.name for f in wider)},
    )  # fmt: skip
    folding.fold(table)  # moves the mark
