"""Extracts that raw has no manifest of any more, and going on without an extract."""

from __future__ import annotations

from collections.abc import Iterable

from varve.config import Dataset
from varve.model.errors import ParkedError, UsageError
from varve.raw import RawDataset
from varve.run.run import Run


def lost_as(dataset: RawDataset, number: int) -> tuple[str, None, str]:
    """(table, scope, name) by which a person decides about an extract of which raw has no manifest any more."""
    return f"bronze.{dataset.table}", None, f"{dataset.table}#{number}"


def lost_error(dataset: RawDataset, number: int, where: str, *, expected: str | None = None) -> ParkedError:
    """The error for it. where: the table that lacks its rows; expected: the file that it was made from."""
    return ParkedError(
        f"raw has no manifest of extract {number} of {dataset.table} any more, and its rows are missing in the table",
        where=where, found=f"no {dataset.files.root}/{dataset.numbers.key(number)}", expected=expected,
        remedy="Restore it from a backup, or go on without it: "
        f'./spark-submit.sh bronze --discard {dataset.table}#{number} --reason "…"',
    )  # fmt: skip


def discard(run: Run, datasets: Iterable[Dataset], extract: str, reason: str) -> None:
    """Record the decision. extract: its id, or `<table>#<number>` where raw has no manifest of it any more."""
    for one in datasets:
        dataset = run.raw(one.source, one.name)
        table = f"bronze.{dataset.table}"
        if extract.startswith(f"{dataset.table}#"):
            run.ledger.decisions.decide(table, None, extract, verdict="discard", reason=reason)
            return
        for published in dataset.catalog():
            if published.id == extract:
                run.ledger.decisions.decide(table, published.scope, extract, verdict="discard", reason=reason)
                return
    raise UsageError(
        "no extract has this id",
        where="--discard",
        found=extract,
        remedy="./spark-submit.sh status lists the parked extracts, and the command for each.",
    )
