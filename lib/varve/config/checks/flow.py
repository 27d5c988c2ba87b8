"""What must hold within one job graph: tasks exist once, without a circle, and refer to what is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Final

from varve.config.documents import Document, Place
from varve.config.jobs import GraphTask, InnerTask, JobGraph
from varve.config.problems import among, did_you_mean, listed

REFERENCE: Final = re.compile(r"\{\{\s*(.*?)\s*\}\}")
# Databricks' own values that the local runner gives too.
RUN_VALUES: Final = ("job.name", "job.run_id", "job.start_time.iso_date", "task.name")


def add_wrong_flow(document: Document, name: str, graph: JobGraph) -> None:
    """Everything that is wrong in the graph `name` of the document."""
    at: Place = ("resources", "jobs", name)
    before = len(document.problems.found)
    keys = [task.task_key for task in graph.tasks]
    for index, key in enumerate(keys):
        if key in keys[:index]:
            document.refuse((*at, "tasks", index, "task_key"), f"the task {key} occurs twice")
    if len(document.problems.found) > before:
        return
    for index, task in enumerate(graph.tasks):
        for position, needed in enumerate(task.depends_on):
            if needed.task_key not in keys:
                place = (*at, "tasks", index, "depends_on", position, "task_key")
                what = f"the task {task.task_key} depends on a task that is not there"
                document.refuse(place, what, found=needed.task_key, **among(needed.task_key, keys))
    names = [parameter.name for parameter in graph.parameters]
    for index, parameter in enumerate(names):
        if parameter in names[:index]:
            document.refuse((*at, "parameters", index), f"the parameter {parameter} occurs twice")
    if circle := cycle(graph):
        place, what = (*at, "tasks", keys.index(circle[0]), "depends_on"), "the tasks depend on each other in a circle"
        document.refuse(place, what, found=" -> ".join(circle), remedy="Remove one of these dependencies.")
    _add_unkept_options(document, at, graph)
    if len(document.problems.found) == before:
        for place, reference, in_loop in _references(at, graph):
            _add_wrong_reference(document, place, reference, names, in_loop)
        _add_wrong_inputs(document, at, graph)


def cycle(graph: JobGraph) -> tuple[str, ...]:
    """Task keys along a circle of dependencies, each depending on the next, first = last; empty when there is none."""
    needs = {task.task_key: [needed.task_key for needed in task.depends_on] for task in graph.tasks}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        *circle, _ = reversed(error.args[1])  # it names what is needed before what needs it
        first = circle.index(min(circle, key=list(needs).index))
        return (*circle[first:], *circle[:first], circle[first])
    return ()


def _works(at: Place, graph: JobGraph) -> Iterator[tuple[Place, GraphTask | InnerTask]]:
    """The tasks with their places, those inside of a for-each too."""
    for index, task in enumerate(graph.tasks):
        yield (*at, "tasks", index), task
        if task.for_each_task is not None:
            yield (*at, "tasks", index, "for_each_task", "task"), task.for_each_task.task


def _add_unkept_options(document: Document, at: Place, graph: JobGraph) -> None:
    """Options of Databricks Jobs that change what runs, and that the local runner does not keep."""
    if graph.max_concurrent_runs != 1:
        what = "runs of a graph are not counted: they wait for each other table by table"
        found = graph.max_concurrent_runs
        document.refuse((*at, "max_concurrent_runs"), what, found=found, expected="1, or nothing")
    for place, task in _works(at, graph):
        if task.retry_on_timeout:
            what, remedy = "timeout_seconds is the time of all attempts together", "Raise timeout_seconds."
            place = (*place, "retry_on_timeout")
            document.refuse(place, what, found="true", expected="false, or nothing", remedy=remedy)


def _references(at: Place, graph: JobGraph) -> Iterator[tuple[Place, str, bool]]:
    """(place, `job.parameters.x`, whether it stands inside of a for-each) of everything in double braces."""
    for place, task in _works(at, graph):
        words = task.spark_python_task.parameters if task.spark_python_task else ()
        texts = [((*place, "spark_python_task", "parameters", position), text) for position, text in enumerate(words)]
        if isinstance(task, GraphTask) and task.for_each_task:
            texts += [((*place, "for_each_task", "inputs"), task.for_each_task.inputs)]
        for where, text in texts:
            yield from ((where, reference, isinstance(task, InnerTask)) for reference in REFERENCE.findall(text))


def _add_wrong_inputs(document: Document, at: Place, graph: JobGraph) -> None:
    for index, task in enumerate(graph.tasks):
        text = task.for_each_task.inputs if task.for_each_task else "[]"
        try:
            is_list = bool(REFERENCE.search(text)) or isinstance(json.loads(text), list)
        except ValueError:
            is_list = False
        if not is_list:
            place, expected = (*at, "tasks", index, "for_each_task", "inputs"), "a JSON array, or {{job.parameters.x}}"
            document.refuse(place, "the inputs are no list", found=text, expected=expected)


def _add_wrong_reference(document: Document, at: Place, reference: str, names: list[str], in_loop: bool) -> None:
    """A reference such as job.parameters.x to something that is not there. names: the job's parameters."""
    shown, name = f"{{{{{reference}}}}}", reference.removeprefix("job.parameters.")
    if name != reference:
        if name not in names:
            what, remedy = f"{shown} names no parameter of the job", did_you_mean(name, names)
            document.refuse(at, what, found=name, expected=listed(names), remedy=remedy)
    elif reference.partition(".")[0] == "input":
        if not in_loop:
            document.refuse(at, f"{shown} stands outside the task of a for_each_task")
    elif reference not in RUN_VALUES:
        known = ("job.parameters.<name>", "input", *RUN_VALUES)
        what, remedy = f"{shown} is no reference that Varve knows", did_you_mean(reference, known)
        document.refuse(at, what, expected=listed(known), remedy=remedy)
