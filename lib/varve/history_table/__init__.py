"""One entity's log and versions in the lake: `history` says what is right, here it is made cheap."""

from varve.history_table.table import HistoryTable, OnContradiction, Plan

__all__ = ["HistoryTable", "OnContradiction", "Plan"]
