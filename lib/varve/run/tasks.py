"""What a task of a job graph calls: the file, its function, its parsed arguments. Found out before anything runs."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from varve.config import GraphTask, SparkPythonTask
from varve.config.jobs import InnerTask
from varve.model.errors import ConfigError, UsageError
from varve.run.cli import PROJECT, Job

_REFERENCE: Final = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a job's `run`. name: the task's key, with the input of a for-each in brackets."""

    name: str
    file: Path
    words: tuple[str, ...]
    run: Job
    args: Namespace


@dataclass(frozen=True, slots=True)
class Planned:
    """A task, ready to run. retries: -1 is no limit; interval: [s] between attempts; timeout_seconds: 0 is none."""

    key: str
    calls: tuple[Call, ...]
    retries: int
    interval: float
    concurrency: int
    timeout_seconds: int


def plan(task: GraphTask, values: Mapping[str, str], conf: Path) -> Planned:
    """The calls of a task; values: what `{{…}}` may name. ConfigError or UsageError for what cannot be called."""
    values = {**values, "task.name": task.task_key}
    if task.spark_python_task is not None:
        calls = _calls(task.spark_python_task, {task.task_key: {}}, values, conf)
        return Planned(task.task_key, calls, *_retries(task), 1, task.timeout_seconds)
    each = task.for_each_task
    assert each is not None  # a task does exactly one thing
    if each.task.timeout_seconds:
        raise ConfigError(
            "timeout_seconds inside a for_each_task is not kept here",
            where=f"task {task.task_key}",
            remedy="Put it on the outer task.",
        )
    items = enumerate(_inputs(task.task_key, each.inputs, values))
    iterations = {f"{task.task_key}[{_name(item, number)}]": _input(item) for number, item in items}
    calls = _calls(each.task.spark_python_task, iterations, values, conf)
    retries = _retries(each.task if each.task.max_retries else task)
    return Planned(task.task_key, calls, *retries, each.concurrency, task.timeout_seconds)


def _retries(task: GraphTask | InnerTask) -> tuple[int, float]:
    return task.max_retries, task.min_retry_interval_millis / 1000


def resolved(text: str, values: Mapping[str, str], *, where: str) -> str:
    """The text with every `{{reference}}` replaced."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            known = ", ".join(sorted(values))
            raise ConfigError("a reference names nothing", where=where, found=found[0], expected=f"one of {known}")
        return values[found[1]]

    return _REFERENCE.sub(value, text)


def job_file(python_file: str, conf: Path) -> Path:
    """The file of a job: relative to the graph's file, as Databricks reads it, or to the folder that holds conf.

    A configuration that lies elsewhere may name the project's own jobs in the same two ways.
    """
    folders = (conf / "jobs", conf.parent, PROJECT / "conf" / "jobs", PROJECT)
    for folder in folders:
        if (file := (folder / python_file).resolve()).is_file():
            return file
    tried = ", ".join(str(folder) for folder in folders[:2])
    raise ConfigError(
        "there is no such job file", where="python_file", found=python_file, expected=f"a file below {tried}"
    )


def _calls(
    work: SparkPythonTask, iterations: Mapping[str, Mapping[str, str]], values: Mapping[str, str], conf: Path
) -> tuple[Call, ...]:
    """One call per iteration (name -> the values that hold for it alone)."""
    file = job_file(work.python_file, conf)
    job = _module(file)
    return tuple(_call(name, file, job, work, {**values, **own}) for name, own in iterations.items())


def _call(name: str, file: Path, job: ModuleType | Exception, work: SparkPythonTask, values: Mapping[str, str]) -> Call:
    where = f"task {name}, {file.name}"
    words = tuple(resolved(word, values, where=where) for word in work.parameters)
    if isinstance(job, Exception):
        return Call(name, file, words, _raising(job), Namespace())
    try:
        return Call(name, file, words, job.run, job.parser().parse_args(words))
    except SystemExit:
        raise UsageError("the job refuses its parameters", where=where, found=shlex.join(words)) from None
    except UsageError as error:
        raise UsageError(error.what, where=where, found=shlex.join(words), remedy=error.remedy) from None


def _module(file: Path) -> ModuleType | Exception:
    """The job's module, by path: a job's name may be that of any library.

    What its code raises stops its own task only: it is raised when the task's turn comes.
    """
    name = f"varve_job_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up by name
    try:
        spec.loader.exec_module(module)
        _ = module.parser, module.run
    except Exception as error:
        return error
    return module


def _raising(error: Exception) -> Callable[[Any, Namespace], None]:
    def run(run: object, args: Namespace) -> None:
        raise error

    return run


def _inputs(task: str, text: str, values: Mapping[str, str]) -> list[Any]:
    given = resolved(text, values, where=f"task {task}")
    try:
        items = json.loads(given)
    except ValueError:
        items = None
    if not isinstance(items, list):
        raise ConfigError(
            "inputs of a for_each_task", where=f"task {task}", found=given, expected='a JSON array, ["ES", "IT"]'
        )
    return items


def _input(item: Any) -> dict[str, str]:
    fields = {f"input.{name}": _text(value) for name, value in item.items()} if isinstance(item, dict) else {}
    return {"input": _text(item), **fields}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _name(item: Any, number: int) -> str:
    """What distinguishes one iteration from the others in the ledger: a short plain input, else its number."""
    text = _text(item)
    return text if not isinstance(item, dict | list) and re.fullmatch(r"[\w./-]{1,30}", text) else str(number)
