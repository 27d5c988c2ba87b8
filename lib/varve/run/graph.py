"""The local runner of job graphs: Databricks Jobs YAML, every task in this one process and session.

Differences from Databricks, on purpose: tasks run one after another (one machine, one session), only the iterations of
a for-each run at once (`concurrency`); a task that parked a scope counts as successful for what depends on it, because
a parked scope stops no other, and the run exits 3; a failure that a later task handled still shows in the exit code.
Retries are for what may pass by itself (exit 4, 1), never for a wrong configuration (2) or parked work (3).
Nothing is remembered between runs: every job skips what Delta's commits say is done.
"""

from __future__ import annotations

import shlex
import signal
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from types import FrameType

from varve.config import Config, GraphTask, JobGraph, job_graphs
from varve.config.problems import did_you_mean
from varve.model.errors import ConfigError, SourceError, UsageError, VarveError
from varve.ops.ending import exit_code
from varve.run import cli
from varve.run.console import Screen
from varve.run.report import Report, State, Step, decide, worst
from varve.run.run import Run
from varve.run.tasks import Call, Planned, plan

_MAY_PASS = (1, 4)
_OPTIONS = ("from", "only", "plan", "help")


def launch_graph(argv: Sequence[str]) -> int:
    """Run the job graph that the first word names, `daily --accept "reason"`, and return the exit code."""
    name = argv[0] if argv and not argv[0].startswith("-") else ""
    chosen: list[JobGraph] = []

    def parser(config: Callable[[], Config]) -> cli.Parser:
        if not name and {"-h", "--help"} & set(argv):
            listed = [f"  {known}  {graph.description}".rstrip() for known, graph in _graphs(config()).items()]
            return cli.Parser("Run a job graph of conf/jobs.", epilog="graphs:\n" + "\n".join(listed))
        chosen.append(_graph(config(), name))
        return graph_parser(chosen[0], name, argv[1:])

    def body(run: Run, args: Namespace, screen: Screen) -> int:
        if args.plan:
            screen.plain(plan_text(chosen[0], _planned(run, chosen[0], args)))
            return 0
        report = run_graph(run, chosen[0], args, screen)
        screen.summary(report)
        return report.code

    dry = bool({"--plan", "--dry-run"} & set(argv))
    return cli.execute(argv[1:] if name else argv, parser, body, job=name or "run", writes=not dry)


def graph_parser(graph: JobGraph, name: str, argv: Sequence[str]) -> cli.Parser:
    """The command line of a graph: an option per declared parameter; an unknown option is an error that names them."""
    tasks = "\n".join(f"  {task.task_key}{_after(task)}  {task.description}".rstrip() for task in graph.in_order())
    parser = cli.Parser(graph.description or graph.name, epilog=f"tasks, in order:\n{tasks}", prog=name)
    own = parser.add_argument_group("parameters of this graph")
    taken = {*cli.common_options(), *(f"--{option}" for option in _OPTIONS), "--dry-run"}
    for parameter in graph.parameters:
        spellings = dict.fromkeys((f"--{parameter.name}", f"--{parameter.name.replace('_', '-')}"))
        if clash := taken & set(spellings):
            raise ConfigError("a parameter has the name of an option of every graph", where=name, found=min(clash))
        default = parameter.default
        text = f"default {default!r}".replace("%", "%%")
        own.add_argument(*spellings, dest=f"parameter:{parameter.name}", default=default, metavar="VALUE", help=text)
    keys = [task.task_key for task in graph.tasks]
    parser.add_argument("--from", dest="start", choices=keys, metavar="TASK", help="this task and what depends on it")
    parser.add_argument("--only", choices=keys, metavar="TASK", help="only this task")
    parser.add_argument("--plan", "--dry-run", action="store_true", help="print the order and run nothing")
    declared = ", ".join(f"--{parameter.name}" for parameter in graph.parameters) or "no parameter"
    known = taken | {word for action in parser._actions for word in action.option_strings} | {"-h"}
    for word in argv:
        option = word.partition("=")[0]
        if option.startswith("--") and " " not in option and option not in known:
            raise UsageError(f"unknown option {option}", where=name, expected=f"{declared} (declared by this graph)")
    return parser


def run_graph(run: Run, graph: JobGraph, args: Namespace, screen: Screen) -> Report:
    """Run the graph's tasks in order; a failed task stops only what depends on it."""
    began = time.monotonic()
    planned = _planned(run, graph, args)
    chosen = _chosen(graph, start=args.start, only=args.only)
    run.ledger.listeners.append(screen.row)
    steps: dict[str, Step] = {}

    def report() -> Report:
        rows, seconds = run.ledger.rows, time.monotonic() - began
        return Report(run.job, run.run_id, tuple(steps.values()), rows, seconds, run.ledger.log)

    with screen.progress():
        for task in graph.in_order():
            key = task.task_key
            state = decide(task.run_if, [steps[d.task_key].state for d in task.depends_on])
            if key not in chosen:
                steps[key] = Step(key, State.LEFT_OUT)
            elif state is not None:
                steps[key] = Step(key, state)
            else:
                left = graph.timeout_seconds - (time.monotonic() - began) if graph.timeout_seconds else None
                steps[key] = _step(run, planned[key], screen, left)
                run.ledger.flush()
            screen.ended(steps[key], report().totals(key))
    return report()


def plan_text(graph: JobGraph, planned: Mapping[str, Planned]) -> str:
    """The order of the tasks that would run, with their files and parameters."""
    lines = []
    for number, task in enumerate((t for t in graph.in_order() if t.task_key in planned), start=1):
        lines.append(f"{number}. {task.task_key}{_after(task)}")
        for call in planned[task.task_key].calls:
            lines.append(f"     {call.file.name} {shlex.join(call.words)}".rstrip())
    return "\n".join(lines)


def _after(task: GraphTask) -> str:
    if not task.depends_on:
        return ""
    return f"  after {', '.join(d.task_key for d in task.depends_on)} ({task.run_if})"


def _graphs(config: Config) -> Mapping[str, JobGraph]:
    """The graphs of the configuration, and those of the project that it has none of the same name for."""
    return {**config.graphs, **job_graphs(cli.PROJECT / "conf"), **config.graphs}  # in the order of the first


def _graph(config: Config, name: str) -> JobGraph:
    graphs = config.graphs if name in config.graphs else _graphs(config)
    if name not in graphs:
        known = ", ".join(graphs) or "none: conf/jobs is empty"
        what = f"there is no job graph {name}" if name else "no job graph was named"
        remedy = did_you_mean(name, graphs)
        raise UsageError(what, where=str(config.directory / "jobs"), expected=f"one of {known}", remedy=remedy)
    return graphs[name]


def _planned(run: Run, graph: JobGraph, args: Namespace) -> dict[str, Planned]:
    """What the chosen tasks call; mistakes in files, references and parameters are found before the first one runs."""
    given = {p.name: getattr(args, f"parameter:{p.name}") for p in graph.parameters}
    values = {f"job.parameters.{name}": value for name, value in given.items()}
    values |= {"job.run_id": run.run_id, "job.name": graph.name}
    values["job.start_time.iso_date"] = datetime.now(UTC).date().isoformat()
    chosen = _chosen(graph, start=args.start, only=args.only)
    return {t.task_key: plan(t, values, run.config.directory) for t in graph.in_order() if t.task_key in chosen}


def _chosen(graph: JobGraph, *, start: str | None, only: str | None) -> frozenset[str]:
    if only:
        return frozenset({only})
    if not start:
        return frozenset(task.task_key for task in graph.tasks)
    chosen = {start}
    for task in graph.in_order():
        if any(dependency.task_key in chosen for dependency in task.depends_on):
            chosen.add(task.task_key)
    return frozenset(chosen)


def _step(run: Run, planned: Planned, screen: Screen, left: float | None) -> Step:
    """Run one task: its one call, or one per input. Every call is tried; the worst error decides how the task ended."""
    began = time.monotonic()
    screen.started(planned.key)
    limits = [limit for limit in (planned.timeout_seconds or None, left) if limit is not None]
    results: list[tuple[int, BaseException | None]] = []
    try:
        with _deadline(min(limits) if limits else None, run):
            if planned.concurrency == 1:
                results += [_attempts(run, call, planned, screen) for call in planned.calls]
            else:
                with ThreadPoolExecutor(planned.concurrency) as pool:
                    results += pool.map(lambda call: _attempts(run, call, planned, screen), planned.calls)
    except _TimeUpError:
        results.append(
            (1, SourceError("the task took too long", where=planned.key, expected=f"at most {min(limits):g} s"))
        )
    errors = [error for _, error in results if error is not None]
    code = worst(exit_code(error) for error in errors)
    error = next((error for error in errors if exit_code(error) == code), None)
    attempts = max((attempts for attempts, _ in results), default=1)
    return Step(planned.key, cli.ended(error), time.monotonic() - began, attempts, error)


def _attempts(run: Run, call: Call, planned: Planned, screen: Screen) -> tuple[int, BaseException | None]:
    """Call until it succeeds or no attempt is left; return the attempts made and the last error."""
    for attempt in count(1):
        try:
            with run.ledger.within(call.name, attempt=attempt):
                call.run(run, call.args)
        except (Exception, SystemExit) as error:
            if not isinstance(error, VarveError):
                run.ledger.trace(error, call.name)
            spent = planned.retries != -1 and attempt > planned.retries
            if spent or exit_code(error) not in _MAY_PASS:
                return attempt, error
            screen.retried(call.name, error, seconds=planned.interval)
            time.sleep(planned.interval)
        else:
            return attempt, None
    raise AssertionError("count never ends")


class _TimeUpError(BaseException):
    """No Exception: what catches those on the way (py4j does) must not take it for its own."""


@contextmanager
def _deadline(seconds: float | None, run: Run) -> Iterator[None]:
    """Raise _TimeUpError in the block after so many seconds, and cancel what Spark still runs for it."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def time_up(number: int, frame: FrameType | None) -> None:
        raise _TimeUpError

    before = signal.signal(signal.SIGALRM, time_up)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    except _TimeUpError:
        if run.opened:
            run.spark.sparkContext.cancelAllJobs()
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
