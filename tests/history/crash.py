"""A process that loads a small world and kills itself: `python -m history.crash <lake> <mark> <point> <occurrence>`.

The points: before an append's or a fold's commit, when its first data file is there and the commit is not, and after
the commit before anyone hears of it (the ledger would be next). The mark is a file that tells that it was reached.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from varve.storage.delta import Store

from .cases import Case, world_of
from .engine import Engine
from .worlds import TIME_LAW, Step, World

POINTS = (
    "before the commit of an append",
    "after staging an append",
    "after the commit of an append",
    "before the commit of a fold",
    "after staging a fold",
    "after the commit of a fold",
)
CASES = (
    Case("plain", "A@1 | B@3 | A@5", ""),
    Case("late", "A@1 A@9 | B@7 | C@4", ""),
    Case("waits", "-@5 | A@3 | A@3", ""),
    Case("tie", "A@1 | B@5 | C@5", ""),
    Case("retract", "A@1 B@3 | !B@3 | D@8", ""),
    Case("snapshots", "S@1{A,a.b:B} | S@5{A} | S@3{C}", ""),
)


def crash_world() -> World:
    """Three loads; each is appended and folded, the second fold and every later one on the path of great tables."""
    world, _ = world_of(CASES, TIME_LAW)
    steps: list[Step] = []
    for step in world.steps:
        steps += [step, Step("fold")]
    return World(world.law, world.scopes, world.manifests, tuple(steps))


def run(engine: Engine) -> None:
    """All steps; those that were taken by an earlier process are no-ops."""
    for step in engine.world.steps:
        if step.kind == "fold":
            with engine.great():
                engine.table.fold()
        else:
            engine.hear(step.manifest)


def armed(point: str, occurrence: int, mark: Path) -> None:
    """Patches the store so that the process dies at the point, the n-th time that it comes there."""
    passed = 0

    def die() -> None:
        mark.write_text(point, encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)

    def reached() -> bool:
        nonlocal passed
        passed += 1
        return passed == occurrence

    def deadly(write: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(store: Store, rows: Any, layer: str, table: str, **options: Any) -> Any:
            if not reached():
                return write(store, rows, layer, table, **options)
            if point.startswith("before"):
                die()
            if "staging" in point:
                threading.Thread(target=watch, args=(Path(store.path(layer, table)),), daemon=True).start()
            result = write(store, rows, layer, table, **options)
            die()
            return result

        return wrapped

    def watch(table: Path) -> None:
        before = set(table.rglob("*.parquet"))
        while not set(table.rglob("*.parquet")) - before:
            time.sleep(0.0005)
        die()

    for name in ("append",) if point.endswith("append") else ("replace", "exchange"):
        setattr(Store, name, deadly(getattr(Store, name)))


def main(lake: str, mark: str, point: str = "", occurrence: str = "1") -> None:
    from conftest import SETTINGS
    from varve.spark import session

    spark = session.build(SETTINGS, app="crash")
    if point:
        armed(point, int(occurrence), Path(mark))
    else:
        Path(mark).write_text("ready", encoding="utf-8")
    run(Engine(spark, lake, crash_world()))


if __name__ == "__main__":
    main(*sys.argv[1:])
