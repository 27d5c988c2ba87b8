"""One entity's log and versions in the lake: `history` says what is right, here it is made cheap."""

from varve.history_table.planning import HistoryPlan
from varve.history_table.table import HistoryTable
from varve.history_table.tables import OnContradiction

__all__ = ["HistoryPlan", "HistoryTable", "OnContradiction"]
