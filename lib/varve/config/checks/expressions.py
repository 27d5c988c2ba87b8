"""Spark SQL expressions in the configuration."""

from __future__ import annotations

from collections.abc import Collection

from varve.config.documents import Document, Place
from varve.model.scope import SCOPE_COLUMNS


def add_wrong_sql(document: Document, at: Place, text: str, columns: Collection[str] | None) -> None:
    """A Spark SQL boolean that cannot be parsed, or names columns that are not there (None: not known)."""
    import sqlglot  # costs a third of a second: only who has expressions pays
    from sqlglot import exp

    if not text.strip():
        document.refuse(at, "an expression must be text", expected="a Spark SQL boolean")
        return
    try:
        parsed = sqlglot.parse_one(text, read="spark")
    except sqlglot.errors.SqlglotError as error:
        near = next((e.get("highlight") for e in getattr(error, "errors", ())), None)
        document.refuse(at, "this is not Spark SQL", found=text, remedy=f"Look near {near}." if near else None)
        return
    if isinstance(parsed, (exp.Query, exp.Command, exp.DDL, exp.DML, exp.Block)):
        what = "a statement stands where an expression is expected"
        document.refuse(at, what, found=text, expected="a Spark SQL boolean")
        return
    known = {name.lower() for name in (*(columns or ()), *SCOPE_COLUMNS)}
    for name in sorted({column.name for column in parsed.find_all(exp.Column)} if columns is not None else ()):
        if name.lower() not in known and not name.startswith("_"):
            what = f"the expression names {name}, which is no column"
            document.refuse_unknown(at, what, name, columns or (), found=text)
