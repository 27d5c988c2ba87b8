"""Where a load can die, and a process that does: `python -m loading_crash <root> <mark> <job> [<point>]`.

The mark is a file that tells that the process is at work, or with a point that it was reached.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from varve.bronze.recording import Recording
from varve.history_table import HistoryTable
from varve.run import cli
from varve.run.cli import launch
from varve.run.run import Run
from varve.silver import EntityLoad
from varve.storage.delta import Store


@dataclass(frozen=True)
class Point:
    """The first call of a method, before it, after it, or when it has written data that no commit names yet."""

    job: str
    owner: type
    method: str
    when: Literal["before", "staged", "after"] = "before"


POINTS: Final = {
    "bronze, decided": Point("bronze", Recording, "record_drift"),
    "bronze, drift recorded": Point("bronze", Recording, "record_rejects"),
    "bronze, rejects recorded": Point("bronze", Store, "append"),
    "bronze, staged": Point("bronze", Store, "append", "staged"),
    "bronze, committed": Point("bronze", Store, "append", "after"),
    "silver, decided": Point("silver", EntityLoad, "_reject"),
    "silver, rejects recorded": Point("silver", HistoryTable, "append_batch"),
    "silver, staged": Point("silver", HistoryTable, "append_batch", "staged"),
    "silver, committed": Point("silver", HistoryTable, "append_batch", "after"),
}


def arm(point: Point, reached: Callable[[], None], *, patch: Callable[[type, str, Any], None] = setattr) -> None:
    """Have a function called when the process comes to a point for the first time."""
    honest, passed = getattr(point.owner, point.method), []

    def armed(one: Any, *args: Any, **options: Any) -> Any:
        is_first = not passed
        passed.append(True)
        if is_first and point.when == "before":
            reached()
        if is_first and point.when == "staged":
            threading.Thread(target=watch, args=(one,), daemon=True).start()
        found = honest(one, *args, **options)
        if is_first and point.when == "after":
            reached()
        return found

    def watch(one: Any) -> None:
        store: Store = one if isinstance(one, Store) else one.store
        folder = Path(store.root) / point.job
        while not list(folder.rglob("*.parquet")):
            time.sleep(0.0005)
        reached()

    patch(point.owner, point.method, armed)


class Opened(Run):
    """Opens the session of this process where it is made: a thread of a job would not find it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        assert self.spark is not None


def run(root: Path, job: str, *words: str) -> int:
    """Run a job on the lake of a till, and return its exit code."""
    from in_process import job_module

    module = job_module(job)
    place = ["--lake", str(root / "lake"), "--conf", str(root / "conf"), "--quiet"]
    return launch(module.run, module.parser, [*place, *words])


def main(root: str, mark: str, job: str, *point: str) -> None:
    from conftest import SETTINGS
    from varve.spark import session

    session.build(SETTINGS, app="crash")
    setattr(cli, "Run", Opened)  # noqa: B010

    def die() -> None:
        Path(mark).write_text(point[0], encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)

    for name in point:
        arm(POINTS[name], die)
    if not point:
        Path(mark).write_text("ready", encoding="utf-8")
    sys.exit(run(Path(root), job))


def words_of(root: Path, mark: Path, job: str, *point: str) -> Sequence[str]:
    """The command that starts such a process, from the folder of the tests."""
    return [sys.executable, "-m", "loading_crash", str(root), str(mark), job, *point]


if __name__ == "__main__":
    main(*sys.argv[1:])
