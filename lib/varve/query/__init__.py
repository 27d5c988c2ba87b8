"""SQL over the lake: asking, and showing the answer."""

from varve.query.ask import Answer, ask, tables

__all__ = ["Answer", "ask", "tables"]
