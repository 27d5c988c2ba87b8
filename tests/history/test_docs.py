"""docs/history.md cannot lie: its examples run through the oracle and through `timeline`, its commands are parsed."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from importlib import util
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pyspark.sql import DataFrame, SparkSession

from in_process import job_module
from varve import history

from . import oracle
from .cases import Case, shown, statements_in
from .frames import changes_frame, moment, policy_of, versions_of
from .oracle import Key, Law, Scope, Statement, Version
from .worlds import SEQUENCE_LAW, TIE_BREAK_LAW, TIME_LAW, scope_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "history.md").read_text(encoding="utf-8")
LAWS = {"Sequences without time": SEQUENCE_LAW, "Tie-break columns": TIE_BREAK_LAW}
PROSE_ONLY = {"Scopes and the guard", "The horizon"}  # one line of the notation is about one scope and has no expiry
COMPARISON = "Beside other systems"  # its examples are run too, but state no rule of ours


@dataclass(frozen=True)
class Line:
    """A row of a table of the page: its section, and its cells by the names of the columns."""

    section: str
    cells: dict[str, str]

    def code(self, column: str) -> str:
        """The text between backquotes, empty for the word `nothing`."""
        cell = self.cells[column]
        if cell == "nothing":
            return ""
        assert re.fullmatch(r"`[^`]+`", cell), f"{cell!r} is neither an example nor `nothing`"
        return cell[1:-1]


def lines() -> Iterator[Line]:
    section, header = "", list[str]()
    for text in PAGE.splitlines():
        if text.startswith("#"):
            section = text.lstrip("# ")
        if not text.startswith("|"):
            header = []
            continue
        cells = [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", text)[1:-1]]
        if not header:
            header = cells
        elif set(text) - set("|-: "):
            yield Line(section, dict(zip(header, cells, strict=True)))


RULES = {
    f"{line.section}: {line.cells['rule']}": Case(
        line.cells["rule"], line.code("heard"), line.code("versions"), LAWS.get(line.section, TIME_LAW),
        int(line.cells.get("set aside", "0")),
    )
    for line in lines()
    if {"rule", "heard", "versions"} <= line.cells.keys()
}  # fmt: skip
BESIDE = {
    f"beside: {line.cells['case']}": Case(line.cells["case"], line.code("heard"), line.code("Varve"),
                                          quarantined=int(line.cells["case"] == "tie") * 2)
    for line in lines()
    if {"case", "heard", "Varve"} <= line.cells.keys()
}  # fmt: skip
CASES = RULES | BESIDE
SCOPES: dict[str, Scope] = {name: scope_of(number) for number, name in enumerate(CASES)}
ASKED = [line for line in lines() if "asked" in line.cells]


def statements(law: Law) -> list[Statement]:
    """What the examples under a law say, snapshots written out."""
    lives = (oracle.lives(c.observations(SCOPES[n]), c.law) for n, c in CASES.items() if c.law == law)
    return [said for one in lives for life in one.values() for said in life]


@pytest.fixture(scope="module")
def answers(shared_spark: SparkSession) -> dict[str, tuple[dict[Key, list[Version]], int]]:
    """The engine's versions and number of statements set aside, of every example: two jobs per law."""
    names = {scope: name for name, scope in SCOPES.items()}
    versions: dict[str, dict[Key, list[Version]]] = {name: {} for name in CASES}
    aside = dict.fromkeys(CASES, 0)
    for law in {case.law for case in CASES.values()}:
        frame = changes_frame(shared_spark, statements(law), law)
        for (scope, key), life in versions_of(history.timeline(frame, policy_of(law)), law).items():
            versions[names[scope]][key] = life
        for row in history.quarantined(frame, policy_of(law)).collect():
            aside[names[row["scope_country"], row["scope_entity"]]] += 1
    return {name: (versions[name], aside[name]) for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_an_example_gives_the_versions_beside_it(
    answers: dict[str, tuple[dict[Key, list[Version]], int]], name: str
) -> None:
    case, (versions, aside) = CASES[name], answers[name]
    assert {key: shown(v, case.law) for key, v in versions.items()} == case.versions(), case.said
    assert aside == case.quarantined, case.said
    brute = oracle.versions(case.observations(SCOPES[name]), case.law)
    assert {key: shown(v, case.law) for (_, key), v in brute.items()} == case.versions(), case.said


def test_what_is_asked_is_answered(shared_spark: SparkSession) -> None:
    policy, found = policy_of(TIME_LAW), list[DataFrame]()
    for number, line in enumerate(ASKED):
        said = statements_in(line.code("heard"), scope_of(number))
        log = changes_frame(shared_spark, said, TIME_LAW)
        at, *known = (int(n) for n in re.findall(r"\d+", line.code("asked")))
        expected = [line.code("answer")] if line.code("answer") else []
        states = oracle.as_known(said, at, *(known or [10**6]), TIME_LAW)
        assert [values[0] for values in states.values()] == expected, line
        moments = [m for m in map(moment, (at, *known)) if m is not None]
        found.append(
            history.as_known(log, *moments, policy) if known else history.as_of(history.timeline(log, policy), *moments)
        )
    rows = reduce(DataFrame.unionByName, found).collect()
    engine = {(row["scope_country"], row["scope_entity"]): row["state"] for row in rows}
    assert engine == {scope_of(n): line.code("answer") for n, line in enumerate(ASKED) if line.code("answer")}


def test_every_section_of_rules_has_examples() -> None:
    rules = PAGE.partition("\n## The rules")[2].partition("\n## ")[0]
    sections = set(re.findall(r"^### (.+)$", rules, re.MULTILINE))
    tested = {name.partition(":")[0] for name in RULES} | {line.section for line in ASKED}
    assert sections - PROSE_ONLY == tested - {COMPARISON}
    assert len(RULES) > 70
    assert len(RULES) == sum({"rule", "heard", "versions"} <= line.cells.keys() for line in lines()), "two of one name"


def test_the_comparison_is_of_the_cases_that_were_run() -> None:
    spec = util.spec_from_file_location("history_compare", DOCS / "history_compare.py")
    assert spec is not None
    assert spec.loader is not None
    script = util.module_from_spec(spec)
    sys.modules[spec.name] = script  # dataclasses look there
    spec.loader.exec_module(script)
    assert [(case.id, case.said) for case in BESIDE.values()] == [(case.name, case.said) for case in script.CASES]


def test_every_picture_is_there_and_tells_what_it_shows() -> None:
    pictures = re.findall(r"!\[([^\]]+)\]\((history-\w+\.svg)\)", PAGE)
    assert {name for _, name in pictures} == {file.name for file in DOCS.glob("history-*.svg")}
    for _, name in pictures:
        root = ElementTree.parse(DOCS / name).getroot()
        told = {child.tag.partition("}")[2]: child.text or "" for child in root}
        assert told["title"], name
        assert told["desc"], name
        assert "prefers-color-scheme: dark" in told["style"], name


def test_every_command_is_one_that_the_jobs_take() -> None:
    commands = re.findall(r"\./spark-submit\.sh ([^`\n]+)", PAGE)
    assert len(commands) > 12
    for command in commands:
        job, *words = shlex.split(command)
        if not (DOCS.parent / "conf" / "jobs" / f"{job}.yml").is_file():  # a graph takes what its jobs take
            job_module(job).parser().parse_args(words)  # raises what the person would read
