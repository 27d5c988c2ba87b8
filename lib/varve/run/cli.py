"""The command line of every job, and what surrounds a run: configuration, ledger, errors, exit code.

All files in `jobs/` look alike:

    \"\"\"Silver: conform and validate bronze, and keep the history of every entity.\"\"\"

    def parser() -> Parser:
        parser = Parser(description=__doc__)          # the options below are added by `launch`
        parser.add_argument("--table", help="only this entity")
        return parser

    def run(run: Run, args: Namespace) -> None:      # also called by the graph, many tasks in one process
        ...

    if __name__ == "__main__":
        sys.exit(launch(run, parser, sys.argv[1:]))   # writes=False for jobs that only read

Options of every job: --lake, --conf, --env, --run-id, --quiet, --verbose, --json.
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
import sys
import time
import traceback
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final, NoReturn

from varve.config import Config, load
from varve.model import clock
from varve.model.errors import UsageError, VarveError
from varve.ops.ending import exit_code
from varve.run.console import Screen
from varve.run.report import Report, State, Step
from varve.run.run import Run
from varve.spark.failures import explained

PROJECT: Final = Path(__file__).resolve().parents[3]
INTERRUPTED: Final = 130

Job = Callable[[Run, Namespace], None]
Body = Callable[[Run, Namespace, Screen], int]


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations; what is wrong is a UsageError."""

    def __init__(self, description: str | None = None, *, epilog: str | None = None, prog: str | None = None) -> None:
        super().__init__(
            prog, description=description, epilog=epilog, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip

    def error(self, message: str) -> NoReturn:
        """Raises UsageError: argparse would print and exit."""
        raise UsageError(message, where=self.prog, remedy=f"{self.prog} --help lists the options.")


def moment(text: str) -> datetime:
    """The type of an option that takes a day or a time: UTC where it names no offset."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        expected = "such as 2026-03-01 or 2026-03-01T12:00+01:00"
        raise argparse.ArgumentTypeError(f"{text} is no time, expected {expected}") from None
    return clock.utc(found)


def launch(
    work: Job, parser: Callable[[], argparse.ArgumentParser], argv: Sequence[str], *, writes: bool = True
) -> int:
    """Run one job by itself and return its exit code."""
    job = Path(inspect.getfile(work)).stem

    def body(run: Run, args: Namespace, screen: Screen) -> int:
        if writes:
            return _recorded(work, run, args, screen)
        work(run, args)
        return 0

    return execute(argv, lambda config: parser(), body, job=job, writes=writes)


def execute(
    argv: Sequence[str],
    parser: Callable[[Callable[[], Config]], argparse.ArgumentParser],
    body: Body,
    *,
    job: str,
    writes: bool = True,
) -> int:
    """Everything around a run: read the command line and the configuration, take in what killed runs left, turn errors
    into exit codes.

    parser: makes the parser, given a function that reads the configuration (most need none, and help works without).
    Moments are read and shown in UTC: the process works in it from here on.
    """
    clock.work_in_utc()
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a letter must not end a run
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    screen = Screen()
    run: Run | None = None
    try:
        early = common(Parser(prog=f"./spark-submit.sh {job}"))
        options, _ = early.parse_known_args([word for word in argv if word not in ("-h", "--help")])
        screen = Screen(quiet=options.quiet, verbose=options.verbose, json=options.json)

        @cache
        def config() -> Config:
            return load(_conf(options.conf), env=options.env, lake=place(options.lake))

        full = parser(config)
        full.prog = f"./spark-submit.sh {job}"
        args = common(full).parse_args(argv)
        run = Run(config(), job=job, run_id=options.run_id)
        with ExitStack() as stack:
            stack.callback(run.close)
            if writes:
                run.tell = screen.say
                run.recover()
                stack.callback(run.ledger.close)
                stack.callback(run.recover)  # again: a run that gave no sign of life meanwhile is dead
            return body(run, args, screen)
    except SystemExit as end:  # help was asked for, or a parser that is not ours refused
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except KeyboardInterrupt:
        screen.error(UsageError("interrupted", remedy="The next run takes up where this one ended."))
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as raised:
        error = raised if run is None else explained(raised, run.root)
        screen.error(error, trace=_trace(error, run))
        return exit_code(error)


def _recorded(work: Job, run: Run, args: Namespace, screen: Screen) -> int:
    """Run a job as the only task of its own run, with progress and a summary."""
    began = time.monotonic()
    run.ledger.listeners.append(screen.row)
    problem: Exception | None = None
    with screen.progress():
        screen.started(run.job)
        try:
            with run.ledger.within(run.job):
                work(run, args)
        except Exception as error:
            problem = error
    if isinstance(problem, UsageError) and not run.ledger.rows:
        raise problem  # the command was wrong: nothing was at work
    if problem is not None and not isinstance(problem, VarveError):
        run.ledger.trace(problem, run.job)
    step = Step(run.job, ended(problem), time.monotonic() - began, 1, problem)
    report = Report(run.job, run.run_id, (step,), run.ledger.rows, step.seconds, run.ledger.log)
    screen.ended(step, report.totals(step.task))
    run.ledger.flush()
    if report.rows or report.code:
        screen.summary(report)
    return report.code


def ended(error: BaseException | None) -> State:
    """The state of a task that ended with this error, or without one."""
    if error is None:
        return State.DONE
    return State.PARKED if exit_code(error) == 3 else State.FAILED


def common_options() -> tuple[str, ...]:
    """The options that every job has: `--lake` and so on."""
    return tuple(option for action in common(Parser())._actions for option in action.option_strings)


def common(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser, with the options of every job added."""
    group = parser.add_argument_group("options of every job")
    lake, conf = os.environ.get("VARVE_LAKE"), os.environ.get("VARVE_CONF")
    group.add_argument("--lake", metavar="DIR", default=lake, help="the lake (or VARVE_LAKE)")
    group.add_argument("--conf", metavar="DIR", default=conf, help="the configuration (or VARVE_CONF)")
    group.add_argument("--env", default="local", metavar="NAME", help="settings: <conf>/NAME.yml, local or cluster")
    group.add_argument("--run-id", metavar="ID", type=_run_id, help="the run's name in the ledger (default: the time)")
    group.add_argument("--quiet", action="store_true", help="say only what went wrong")
    group.add_argument("--verbose", action="store_true", help="a line per table and scope")
    group.add_argument("--json", action="store_true", help="JSON lines on stdout instead of the summary")
    return parser


def _run_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", text):
        raise argparse.ArgumentTypeError("a run is named with letters, digits, dots, - and _ only")
    return text


def _conf(text: str | None) -> Path:
    folder = Path(text).absolute() if text else PROJECT / "conf"
    if not folder.is_dir():
        raise UsageError("there is no such configuration folder", where="--conf", found=str(folder))
    return folder


def place(text: str | None) -> str | None:
    """A lake given on the command line is relative to the working folder, one that is configured to the project."""
    return text if not text or "://" in text else str(Path(text).absolute())


def _trace(error: BaseException, run: Run | None) -> Path | None:
    """Where the trace of an unexpected error was written; ours say what is needed and have none."""
    if isinstance(error, VarveError):
        return None
    if run is None:
        traceback.print_exception(error)
        return None
    return run.ledger.trace(error, run.job)
