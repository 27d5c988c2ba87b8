"""Job graphs: fake jobs, written as real files, run by the real runner."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from varve.config import load
from varve.ops import tables
from varve.run import graph
from varve.run.console import Screen
from varve.run.report import State, decide, worst
from varve.run.run import Run

JOB = '''
"""A job that does as it is told."""
import threading, time
from pathlib import Path
from varve.run.cli import Parser
from varve.model.errors import ConfigError, ParkedError, SourceError, StorageError

MEETING = threading.Barrier(3)

def parser():
    parser = Parser(description=__doc__)
    parser.add_argument("--calls")
    parser.add_argument("--name", default="")
    parser.add_argument("--do", default="ok")
    return parser

def run(lake, args):
    calls = Path(args.calls)
    with calls.open("a") as file:
        file.write(f"{args.name}\\n")
    if args.do.startswith("flaky"):
        if calls.read_text().split().count(args.name) <= int(args.do.removeprefix("flaky")):
            raise SourceError("no answer", where=args.name)
    elif args.do == "meet":
        MEETING.wait(timeout=10)
    elif args.do == "sleep":
        time.sleep(20)
    elif args.do == "interrupt":
        raise KeyboardInterrupt
    elif args.do == "table":
        with lake.ledger.task(args.name, f"{args.name}.claim", "ES/iberia1") as task:
            task.read(1000); task.guard({"rows": 1000})
    elif args.do == "idle":
        with lake.ledger.task(args.name, f"{args.name}.claim", "ES/iberia1") as task:
            task.skip()
    elif args.do == "parktable":
        with lake.ledger.task(args.name, f"{args.name}.claim", "ES/iberia1") as task:
            command = './spark-submit.sh g --accept "why this is right, although half of it is gone"'
            task.parked(ParkedError("half of it is gone", remedy=command))
    elif args.do != "ok":
        raise {"defect": KeyError("Juan Garcia"), "config": ConfigError("wrong"), "park": ParkedError("too few rows"),
               "source": SourceError("no answer"), "storage": StorageError("disk full")}[args.do]
'''


@dataclass
class House:
    """A project of its own: configuration, one job, a lake."""

    root: Path
    out: str = ""
    err: str = ""
    capture: Callable[[], Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        (self.root / "conf" / "jobs").mkdir(parents=True)
        (self.root / "jobs").mkdir()
        (self.root / "jobs" / "fake.py").write_text(JOB, encoding="utf-8")

    @property
    def calls(self) -> list[str]:
        file = self.root / "calls.txt"
        return file.read_text(encoding="utf-8").split() if file.exists() else []

    def graph(self, *tasks: dict[str, Any], **facts: Any) -> None:
        """Write graph g."""
        text = yaml.safe_dump({"resources": {"jobs": {"g": {"name": "g", "tasks": list(tasks), **facts}}}})
        (self.root / "conf" / "jobs" / "g.yml").write_text(text, encoding="utf-8")

    def python(self, name: str, do: str = "ok", file: str = "../../jobs/fake.py") -> dict[str, Any]:
        words = ["--calls", str(self.root / "calls.txt"), "--name", name, "--do", do]
        return {"python_file": file, "parameters": words}

    def task(self, name: str, do: str = "ok", *, after: str = "", **facts: Any) -> dict[str, Any]:
        depends = {"depends_on": [{"task_key": key} for key in after.split()]} if after else {}
        return {"task_key": name, "spark_python_task": self.python(name, do), **depends, **facts}

    def words(self, *words: str) -> list[str]:
        return ["g", *words, "--conf", str(self.root / "conf"), "--lake", str(self.root / "lake")]

    def run(self, *words: str) -> int:
        code = graph.launch_graph(self.words(*words))
        if self.capture:
            self.out, self.err = self.capture()
        return code

    def states(self, *words: str) -> dict[str, str]:
        self.run("--json", *words)
        return {event["task"]: event["state"] for event in self.events if event["event"] == "task"}

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def ledger(self) -> list[dict[str, Any]]:
        return tables.rows(self.root / "lake", tables.RUNS, columns=tables.COLUMNS[tables.RUNS])


@pytest.fixture
def house(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> House:
    return House(tmp_path, capture=capsys.readouterr)


def test_tasks_run_after_what_they_depend_on(house: House) -> None:
    house.graph(
        house.task("gold", after="silver_a silver_b"),
        house.task("silver_b", after="bronze"),
        house.task("silver_a", after="bronze"),
        house.task("bronze"),
    )
    assert house.run() == 0
    assert house.calls == ["bronze", "silver_b", "silver_a", "gold"]


OK, PARKED, BAD, UP, NO = State.DONE, State.PARKED, State.FAILED, State.UPSTREAM_FAILED, State.EXCLUDED


@pytest.mark.parametrize(
    ("run_if", "upstream", "expected"),
    [
        pytest.param("ALL_FAILED", [], None, id="without dependencies every condition holds"),
        pytest.param("ALL_SUCCESS", [OK, OK], None, id="all success"),
        pytest.param("ALL_SUCCESS", [OK, BAD], UP, id="all success, one failed"),
        pytest.param("ALL_SUCCESS", [OK, UP], UP, id="all success, one upstream failed"),
        pytest.param("ALL_SUCCESS", [OK, PARKED], None, id="parked counts as success"),
        pytest.param("ALL_SUCCESS", [OK, NO], None, id="excluded counts as success"),
        pytest.param("ALL_SUCCESS", [State.LEFT_OUT], None, id="left out counts as success"),
        pytest.param("ALL_SUCCESS", [NO, NO], NO, id="all excluded: excluded"),
        pytest.param("ALL_DONE", [NO, NO], NO, id="all excluded: excluded, even all done"),
        pytest.param("ALL_DONE", [BAD, UP], None, id="all done"),
        pytest.param("NONE_FAILED", [OK, NO], None, id="none failed"),
        pytest.param("NONE_FAILED", [OK, UP], UP, id="none failed, one upstream failed"),
        pytest.param("AT_LEAST_ONE_SUCCESS", [BAD, OK], None, id="one success"),
        pytest.param("AT_LEAST_ONE_SUCCESS", [BAD, UP], UP, id="one success, none"),
        pytest.param("ALL_FAILED", [BAD, UP], None, id="all failed"),
        pytest.param("ALL_FAILED", [BAD, OK], NO, id="all failed, one did not"),
        pytest.param("ALL_FAILED", [BAD, PARKED], NO, id="all failed, one parked"),
        pytest.param("AT_LEAST_ONE_FAILED", [OK, BAD], None, id="one failed"),
        pytest.param("AT_LEAST_ONE_FAILED", [OK, PARKED], NO, id="one failed, none"),
    ],
)
def test_run_if(run_if: str, upstream: list[State], expected: State | None) -> None:
    assert decide(run_if, upstream) == expected


@pytest.mark.parametrize(
    ("run_if", "do", "state"),
    [
        ("ALL_SUCCESS", "source", "upstream failed"),
        ("ALL_SUCCESS", "park", "done"),
        ("ALL_DONE", "source", "done"),
        ("ALL_FAILED", "source", "done"),
        ("ALL_FAILED", "ok", "excluded"),
        ("AT_LEAST_ONE_SUCCESS", "source", "upstream failed"),
    ],
)
def test_run_if_in_a_graph(house: House, run_if: str, do: str, state: str) -> None:
    house.graph(house.task("a", do), house.task("b", after="a", run_if=run_if))
    assert house.states()["b"] == state
    assert ("b" in house.calls) == (state == "done")


@pytest.mark.parametrize(
    ("does", "code"),
    [
        pytest.param(["ok", "ok"], 0, id="done"),
        pytest.param(["park", "ok"], 3, id="parked"),
        pytest.param(["park", "source"], 4, id="a failed source outweighs parked work"),
        pytest.param(["storage", "park"], 4, id="storage"),
        pytest.param(["source", "config"], 2, id="configuration outweighs a source"),
        pytest.param(["config", "defect", "park"], 1, id="a defect outweighs all"),
        pytest.param(["interrupt", "ok"], 130, id="interrupted"),
    ],
)
def test_exit_code(house: House, does: list[str], code: int) -> None:
    house.graph(*(house.task(f"t{number}", do) for number, do in enumerate(does)))
    assert house.run() == code
    assert "Traceback" not in house.out + house.err


def test_the_worst_of_all_codes() -> None:
    assert [worst(codes) for codes in ([0, 3], [3, 4], [4, 2], [2, 1], [])] == [3, 4, 2, 1, 0]


@pytest.mark.parametrize(
    ("do", "retries", "calls", "state"),
    [
        pytest.param("flaky2", 2, 3, "done", id="succeeds at the last attempt"),
        pytest.param("flaky2", 1, 2, "failed", id="attempts are spent"),
        pytest.param("flaky3", -1, 4, "done", id="without limit"),
        pytest.param("defect", 1, 2, "failed", id="what nobody foresaw may pass"),
        pytest.param("config", 5, 1, "failed", id="a wrong configuration does not pass by itself"),
        pytest.param("park", 5, 1, "parked", id="parked work waits for a person"),
    ],
)
def test_retries(house: House, do: str, retries: int, calls: int, state: str) -> None:
    house.graph(house.task("a", do, max_retries=retries, min_retry_interval_millis=10))
    assert house.states() == {"a": state}
    assert len(house.calls) == calls


def test_retries_wait(house: House) -> None:
    house.graph(house.task("a", "flaky1", max_retries=1, min_retry_interval_millis=300))
    began = time.monotonic()
    assert house.run() == 0
    assert time.monotonic() - began >= 0.3


def each(house: House, inputs: str, *, name: str = "{{input}}", do: str = "ok", concurrency: int = 1) -> dict[str, Any]:
    inner = {"task_key": "one", "spark_python_task": house.python(name, do)}
    return {"task_key": "all", "for_each_task": {"inputs": inputs, "concurrency": concurrency, "task": inner}}


def test_for_each_runs_once_per_input(house: House) -> None:
    house.graph(each(house, '["ES", "IT", 3]'))
    assert house.run() == 0
    assert house.calls == ["ES", "IT", "3"]


def test_for_each_takes_fields_of_inputs_and_inputs_from_a_parameter(house: House) -> None:
    house.graph(
        each(house, "{{job.parameters.list}}", name="{{input.country}}-{{input.table}}"),
        parameters=[{"name": "list", "default": "[]"}],
    )
    assert house.run() == 0
    assert house.run("--list", '[{"country": "ES", "table": "claim"}, {"country": "IT", "table": "debtor"}]') == 0
    assert house.calls == ["ES-claim", "IT-debtor"]


def test_for_each_runs_at_once(house: House) -> None:
    house.graph(each(house, '["a", "b", "c"]', do="meet", concurrency=3))  # they wait for each other
    assert house.run() == 0


def test_for_each_tries_all_and_fails_if_one_does(house: House) -> None:
    house.graph(each(house, '["ok", "source", "park", "table"]', do="{{input}}"), house.task("next", after="all"))
    assert house.states() == {"all": "failed", "next": "upstream failed"}
    assert house.calls == ["ok", "source", "park", "table"]
    assert {(row["task"], row["status"]) for row in house.ledger} == {
        ("all[source]", "failed"), ("all[park]", "parked"), ("all[table]", "done"),
    }  # fmt: skip


def test_for_each_needs_a_list(house: House) -> None:
    house.graph(each(house, "{{job.parameters.list}}"), parameters=[{"name": "list", "default": "ES"}])
    assert house.run() == 2
    assert "JSON array" in house.err


def test_a_timeout_stops_the_task_only(house: House) -> None:
    house.graph(house.task("slow", "sleep", timeout_seconds=1), house.task("other"))
    began = time.monotonic()
    assert house.run() == 4
    assert time.monotonic() - began < 10
    assert house.calls == ["slow", "other"]


def test_parameters_come_from_the_command_line(house: House) -> None:
    parameters = [{"name": "country", "default": "IT"}, {"name": "as_of", "default": ""}]
    house.graph(house.task("{{job.parameters.country}}") | {"task_key": "a"}, parameters=parameters)
    for words in ([], ["--country", "ES"], ["--country=PT", "--as-of", "2026-01-01"], ["--as_of", ""]):
        assert house.run(*words) == 0
    assert house.calls == ["IT", "ES", "PT", "IT"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(
            ["--region", "x"], ["unknown option --region", "--country"], id="an unknown option names the declared"
        ),
        pytest.param(["--count", "x"], ["unknown option --count"], id="no abbreviations"),
        pytest.param(["stray"], ["stray"], id="a stray word"),
        pytest.param(["--country"], ["--country"], id="a value is missing"),
        pytest.param(["--only", "b"], ["--only", "'a'"], id="an unknown task names the tasks"),
        pytest.param(["--run-id", "../x"], ["run-id"], id="a run is named plainly"),
    ],
)
def test_a_wrong_command_line_runs_nothing(house: House, words: list[str], says: list[str]) -> None:
    house.graph(house.task("a"), parameters=[{"name": "country", "default": "IT"}])
    assert house.run(*words) == 2
    assert all(text in house.err for text in says)
    assert "Traceback" not in house.err
    assert house.calls == []


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        pytest.param({"parameters": ["--nope", "1"]}, "--nope", id="a parameter that the job does not know"),
        pytest.param(
            {"parameters": ["{{job.parameters.nope}}"]}, "{{job.parameters.nope}}", id="a reference to nothing"
        ),
        pytest.param({"python_file": "../../jobs/nope.py"}, "../../jobs/nope.py", id="a file that is not there"),
    ],
)
def test_mistakes_of_the_last_task_are_found_before_the_first_runs(
    house: House, broken: dict[str, Any], says: str
) -> None:
    last = house.task("last", after="first")
    house.graph(house.task("first"), last | {"spark_python_task": last["spark_python_task"] | broken})
    assert house.run() == 2
    assert says in house.err
    assert house.calls == []


def test_a_cycle_is_an_error_of_the_configuration(house: House) -> None:
    house.graph(house.task("a", after="b"), house.task("b", after="a"))
    assert house.run() == 2
    assert "g.yml" in house.err
    assert "a" in house.err
    assert house.calls == []


def test_an_unknown_graph_names_the_known(house: House) -> None:
    house.graph(house.task("a"))
    assert graph.launch_graph(["h", *house.words()[1:]]) == 2
    assert house.capture is not None
    assert "expected one of g" in house.capture()[1]


def test_broken_code_stops_its_own_task_only(house: House) -> None:
    (house.root / "jobs" / "broken.py").write_text("import nothing_like_this", encoding="utf-8")
    broken = house.task("broken") | {"spark_python_task": house.python("broken", file="../../jobs/broken.py")}
    house.graph(broken, house.task("next", after="broken"), house.task("other"))
    assert house.run() == 1
    assert house.calls == ["other"]
    assert "ModuleNotFoundError" in house.out
    [trace] = (house.root / "lake" / "ops" / "log").glob("*.trace")
    assert "nothing_like_this" in trace.read_text(encoding="utf-8")


def test_a_job_file_may_be_named_from_the_folder_above_conf(house: House) -> None:
    house.graph(house.task("a") | {"spark_python_task": house.python("a", file="jobs/fake.py")})
    assert house.run() == 0


@pytest.mark.parametrize(
    ("words", "calls"),
    [
        (["--only", "silver"], ["silver"]),
        (["--from", "silver"], ["silver", "gold"]),
        (["--from", "bronze"], ["bronze", "silver", "gold"]),
        (["--plan"], []),
        (["--dry-run"], []),
    ],
)
def test_a_part_of_the_graph(house: House, words: list[str], calls: list[str]) -> None:
    house.graph(
        house.task("bronze"), house.task("silver", after="bronze"), house.task("gold", after="silver"), house.task("z")
    )
    assert house.run(*words) == 0
    assert house.calls == calls


def test_help_lists_tasks_and_parameters(house: House) -> None:
    house.graph(house.task("bronze"), house.task("silver", after="bronze"), parameters=[{"name": "p", "default": "5%"}])
    assert house.run("--help") == 0
    assert all(text in house.out for text in ("silver  after bronze", "--p", "5%", "--only", "--lake"))
    assert not (house.root / "lake").exists()


def test_the_plan_shows_order_files_and_parameters(house: House) -> None:
    house.graph(house.task("silver", after="bronze"), house.task("bronze"))
    assert house.run("--plan") == 0
    assert house.out.index("1. bronze") < house.out.index("2. silver")
    assert "fake.py --calls" in house.out


def test_json_lines(house: House) -> None:
    house.graph(house.task("bronze", "table"), house.task("silver", "park", after="bronze"))
    assert house.run("--json", "--run-id", "night-1") == 3
    table, bronze, silver_row, silver, run = house.events
    assert (table["event"], table["table_name"], table["rows_in"]) == ("table", "bronze.claim", 1000)
    assert (bronze["task"], bronze["state"], bronze["tables"], bronze["exit"]) == ("bronze", "done", 1, 0)
    assert (silver_row["status"], silver["state"], silver["exit"], silver["error"]) == (
        "parked",
        "parked",
        3,
        "too few rows",
    )
    assert (run["event"], run["run_id"], run["exit"]) == ("run", "night-1", 3)


def test_the_summary_fits_80_columns_and_commands_stay_whole(house: House) -> None:
    house.graph(
        house.task("extract", "table"), house.task("bronze", "table"), house.task("silver", "parktable"),
        house.task("gold", "idle"), house.task("a_task_with_a_rather_long_key_of_50_letters_or_more", "source"),
    )  # fmt: skip
    assert house.run() == 4
    lines = house.out.splitlines()
    command = next(line for line in lines if "next: ./spark-submit.sh" in line)
    assert command.endswith('--accept "why this is right, although half of it is gone"')
    assert max(len(line) for line in lines if line != command and "log " not in line) <= 80
    assert "nothing new" in house.out
    assert "1 parked" in house.out


def test_quiet_says_nothing_when_all_is_well(house: House) -> None:
    house.graph(house.task("a", "table"))
    assert house.run("--quiet") == 0
    assert house.out + house.err == ""


def test_tables_of_a_retried_task_count_once_in_the_summary(house: House) -> None:
    house.graph(house.task("a", "parktable"), house.task("b", "defect", max_retries=1))
    assert house.run() == 1
    attempts = sorted((row["task"], row["attempt"], row["status"]) for row in house.ledger)
    assert attempts == [("a", 1, "parked"), ("b", 1, "failed"), ("b", 2, "failed")]
    assert house.out.count("failed  b") == 1


def test_a_run_without_spark_opens_no_session(house: House) -> None:
    house.graph(house.task("a"))
    script = "import sys; from varve.run import graph; graph.launch_graph(sys.argv[1:]); print('py4j' in sys.modules)"
    words = [sys.executable, "-c", script, *house.words("--quiet")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.stdout, house.calls) == ("False\n", ["a"]), done.stderr


@pytest.fixture
def running(house: House) -> Iterator[subprocess.Popen[bytes]]:
    """A run in another process, in the middle of its second task."""
    house.graph(house.task("first", "table"), house.task("slow", "sleep", after="first"))
    script = "import sys; from varve.run import graph; sys.exit(graph.launch_graph(sys.argv[1:]))"
    with subprocess.Popen([sys.executable, "-c", script, *house.words("--quiet")]) as process:
        until = time.monotonic() + 60
        while "slow" not in house.calls and time.monotonic() < until:
            time.sleep(0.05)
        yield process
        process.kill()


def test_runs_go_side_by_side_and_a_killed_one_blocks_nobody(house: House, running: subprocess.Popen[bytes]) -> None:
    """What they do to one table waits for its lease; a run that is alive is never taken for a killed one."""
    assert house.run("--only", "first") == 0
    assert running.poll() is None
    assert "killed" not in {row["reason"] for row in house.ledger}
    running.send_signal(signal.SIGKILL)
    running.wait(timeout=10)
    assert house.run("--only", "first") == 0
    found = sorted((row["task"], row["status"], row["reason"] or "") for row in house.ledger)
    assert found == [("first", "done", "")] * 3 + [("slow", "failed", "killed")]


@pytest.mark.parametrize(
    ("error", "code"), [(None, 0), ("park", 3), ("source", 4), ("config", 2), ("defect", 1), ("interrupt", 130)]
)
def test_a_job_by_itself(house: House, error: str | None, code: int) -> None:
    script = (house.root / "jobs" / "fake.py").read_text(encoding="utf-8")
    script += "\nif __name__ == '__main__':\n    import sys\n    from varve.run.cli import launch\n"
    script += "    sys.exit(launch(run, parser, sys.argv[1:]))\n"
    (house.root / "jobs" / "fake.py").write_text(script, encoding="utf-8")
    words = [*house.python("a", error or "table")["parameters"], *house.words()[1:]]
    done = subprocess.run(
        [sys.executable, "jobs/fake.py", *words], cwd=house.root, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert [row["job"] for row in house.ledger] == ["fake"]


def test_an_unreadable_configuration_is_told_without_a_trace(house: House) -> None:
    assert house.run() == 2
    assert house.err.startswith("error ")
    assert graph.launch_graph(["g", "--conf", str(house.root / "nowhere")]) == 2


RUN_IFS = ["ALL_SUCCESS", "ALL_DONE", "NONE_FAILED", "AT_LEAST_ONE_SUCCESS", "ALL_FAILED", "AT_LEAST_ONE_FAILED"]
CODES = {"ok": 0, "park": 3, "source": 4, "config": 2, "defect": 1}


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[list[int], str, str]]:
    """(indexes of dependencies, run_if, what the task does) for up to seven tasks, in a random order of the file."""
    size = draw(st.integers(1, 7))
    return [
        (
            sorted(draw(st.sets(st.integers(0, n - 1), max_size=3))) if n else [],
            draw(st.sampled_from(RUN_IFS)),
            draw(st.sampled_from(list(CODES))),
        )
        for n in range(size)
    ]


def oracle(tasks: list[tuple[list[int], str, str]]) -> dict[str, str]:
    """How each task ends, written from Databricks' table of conditions and nothing else."""

    @cache
    def end(number: int) -> str:
        needs, run_if, does = tasks[number]
        own = {"ok": "done", "park": "parked"}.get(does, "failed")
        ends = [end(need) for need in needs]
        if not ends:
            return own
        if set(ends) == {"excluded"}:
            return "excluded"
        bad = sum(one in ("failed", "upstream failed") for one in ends)
        good = len(ends) - bad
        if run_if in ("ALL_SUCCESS", "NONE_FAILED"):
            return own if bad == 0 else "upstream failed"
        if run_if == "AT_LEAST_ONE_SUCCESS":
            return own if good > 0 else "upstream failed"
        if run_if == "ALL_FAILED":
            return own if good == 0 else "excluded"
        if run_if == "AT_LEAST_ONE_FAILED":
            return own if bad > 0 else "excluded"
        return own

    return {f"t{number}": end(number) for number in range(len(tasks))}


@settings(max_examples=40, deadline=None)
@given(tasks=graphs(), shuffle=st.randoms(use_true_random=False))
def test_any_graph_ends_as_the_table_of_conditions_says(tasks: list[tuple[list[int], str, str]], shuffle: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder))
        written = [
            house.task(f"t{number}", does, after=" ".join(f"t{need}" for need in needs), run_if=run_if)
            for number, (needs, run_if, does) in enumerate(tasks)
        ]
        shuffle.shuffle(written)
        house.graph(*written)
        lake = Run(load(house.root / "conf"), house.root / "lake", job="g")
        report = graph.run_graph(lake, lake.config.graphs["g"], Namespace(start=None, only=None), Screen(quiet=True))
        expected = oracle(tasks)
        ran = {task for task, state in expected.items() if state in ("done", "parked", "failed")}
        assert {step.task: str(step.state) for step in report.steps} == expected
        assert sorted(house.calls) == sorted(ran)
        assert report.code == next(c for c in (1, 2, 4, 3, 0) if c in {0, *(CODES[tasks[int(t[1:])][2]] for t in ran)})


def test_the_environment_gives_the_lake(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARVE_LAKE", str(house.root / "elsewhere"))
    house.graph(house.task("a", "table"))
    assert graph.launch_graph(["g", "--quiet", "--conf", str(house.root / "conf")]) == 0
    assert (house.root / "elsewhere" / "ops" / "runs").is_dir()
