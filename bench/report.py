"""The figures of one run: progress lines while it runs, a closing table, and bench/results/<name>.json."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.arguments import Arguments
from bench.meters import Reading

PACKAGES = ("varve", "pyspark", "delta-spark", "deltalake", "duckdb", "pyarrow")


class Report:
    """Figures, aims and what went wrong, by part. A run of some parts keeps the other parts of the file."""

    def __init__(self, arguments: Arguments) -> None:
        self.name, self._path, self._only = arguments.name, arguments.results / f"{arguments.name}.json", arguments.only
        self._told = {"rows": arguments.rows, "days": arguments.days, "memory": arguments.memory}
        self.console = Console(highlight=False, width=150)
        self.parts: dict[str, dict[str, Any]] = self._kept()
        self._begun: set[str] = set()
        self._part = ""

    def begin(self, part: str) -> None:
        """The figures from here on belong to this part; a part that this run has begun already goes on."""
        self._part = part
        self.console.rule(part)
        if part not in self._begun:
            self._begun.add(part)
            self.parts[part] = {
                "began": _now(), "ended": None, "arguments": self._told, "versions": versions(),
                "load_before": os.getloadavg(), "figures": {}, "aims": [], "wrong": {}, "not_run": {},
            }  # fmt: skip

    def add(self, figure: str, reading: Reading) -> None:
        """One repeat of a figure; not kept when its competitor was found to be wrong."""
        if not any(figure.startswith(f"{competitor}: ") for competitor in self._now()["wrong"]):
            readings = self._now()["figures"].setdefault(figure, {"readings": []})
            readings["readings"].append(asdict(reading))
            readings["median_seconds"] = self.median(figure)
        self.console.print(
            f"{datetime.now(UTC):%H:%M:%S}  {figure:<44} {reading.seconds:9.3f} s  cpu {reading.cpu_seconds:8.2f} s  "
            f"in {reading.read / 1e6:9.1f} MB  out {reading.written / 1e6:8.1f} MB  jobs {reading.jobs:4d}"
        )

    def value(self, figure: str, value: object) -> None:
        """A figure that is no time."""
        self._now()["figures"][figure] = {"value": value}
        self.console.print(f"{datetime.now(UTC):%H:%M:%S}  {figure:<44} {value}")

    def seconds(self, figure: str) -> list[float]:
        """Of every repeat; empty when the figure was not measured or its result was wrong."""
        return [r["seconds"] for r in self._now()["figures"].get(figure, {}).get("readings", [])]

    def median(self, figure: str) -> float | None:
        """Seconds; None when the figure was not measured or its result was wrong."""
        return median(self.seconds(figure))

    def wrong(self, competitor: str, found: object, expected: object) -> None:
        """A competitor whose result differs is not timed: its figures are taken out."""
        part = self._now()
        part["wrong"][competitor] = {"found": str(found), "expected": str(expected)}
        part["figures"] = {k: v for k, v in part["figures"].items() if not k.startswith(f"{competitor}: ")}
        self.console.print(f"[red]{competitor} is wrong[/]: found {found}, expected {expected}")

    def not_run(self, competitor: str, reason: str) -> None:
        """A competitor that could not take part."""
        self._now()["not_run"][competitor] = reason
        self.console.print(f"[yellow]{competitor} was not run[/]: {escape(reason)}")

    def aim(self, name: str, value: float | None, aim: float) -> None:
        """A measured value beside the most that it should be."""
        met = value is not None and value <= aim
        self._now()["aims"].append({"name": name, "value": value, "aim": aim, "met": met})
        self.console.print(f"[{'green' if met else 'red'}]aim[/] {name}: {_shown(value)} (at most {aim})")

    def aim_ratio(self, name: str, above: float | None, below: float | None, aim: float) -> None:
        """A ratio of two times beside the most that it should be; None when one of them is missing."""
        self.aim(name, above / below if above is not None and below else None, aim)

    def save(self) -> None:
        """Write the file; called after each part, so that a run that breaks off keeps what it has."""
        self._now()["ended"] = _now()
        aims = [{"part": name, **aim} for name, part in self.parts.items() for aim in part["aims"]]
        told = {
            "name": self.name, "date": _now(), "machine": machine(), "versions": versions(), "aims": aims,
            "parts": self.parts,
        }  # fmt: skip
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(told, indent=1, default=str) + "\n")

    def close(self) -> None:
        """The closing table."""
        table = Table("part", "aim", "value", "at most", "", title=f"bench {self.name}")
        for name, part in self.parts.items():
            for aim in part["aims"]:
                mark = "[green]met[/]" if aim["met"] else "[red]missed[/]"
                table.add_row(name, aim["name"], _shown(aim["value"]), f"{aim['aim']:g}", mark)
        self.console.print(table)
        self.console.print(f"written: {self._path}")

    def _kept(self) -> dict[str, dict[str, Any]]:
        """The parts that this run does not measure; those of another size are dropped, aloud."""
        if not self._only or not self._path.exists():
            return {}
        known: dict[str, dict[str, Any]] = json.loads(self._path.read_text())["parts"]
        kept = {name: part for name, part in known.items() if part["arguments"] == self._told}
        for name in known.keys() - kept.keys() - set(self._only):
            self.console.print(f"[yellow]the figures of {name} are dropped[/]: {known[name]['arguments']}")
        return kept

    def _now(self) -> dict[str, Any]:
        return self.parts[self._part]


def median(seconds: Sequence[float]) -> float | None:
    """None when there is nothing to take it of."""
    return statistics.median(seconds) if seconds else None


def versions() -> dict[str, str]:
    """What the figures depend on."""
    return {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}}


def machine() -> dict[str, Any]:
    """Where the figures were measured."""
    model = [x.partition(": ")[2] for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)), "memory_gib": round(memory / 2**30, 1), "kernel": platform.release(),
        "cpu": model[0] if model else platform.machine(),
    }  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _shown(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"
