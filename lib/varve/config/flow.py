"""What must hold within one job graph: tasks exist once, without a circle, and refer to what is there."""

from __future__ import annotations

import json
import re
from graphlib import CycleError, TopologicalSorter
from typing import Final

from varve.config.documents import Document
from varve.config.jobs import GraphTask, JobGraph, SparkPythonTask
from varve.config.problems import did_you_mean, listed

REFERENCE: Final = re.compile(r"\{\{\s*(.*?)\s*\}\}")
# Databricks' own values that the local runner gives too.
RUN_VALUES: Final = ("job.name", "job.run_id", "job.start_time.iso_date", "task.name")

Place = tuple[str | int, ...]


def add_wrong_flow(document: Document, name: str, graph: JobGraph) -> None:
    """Everything that is wrong in the graph `name` of the document."""
    at: Place = ("resources", "jobs", name)
    before = len(document.problems.found)
    keys: dict[str, int] = {}
    for index, task in enumerate(graph.tasks):
        if task.task_key in keys:
            document.refuse((*at, "tasks", index, "task_key"), f"the task {task.task_key} occurs twice")
        keys.setdefault(task.task_key, index)
    if len(document.problems.found) > before:
        return
    for index, task in enumerate(graph.tasks):
        for position, needed in enumerate(task.depends_on):
            if needed.task_key not in keys:
                document.refuse(
                    (*at, "tasks", index, "depends_on", position, "task_key"),
                    f"the task {task.task_key} depends on a task that is not there",
                    found=needed.task_key,
                    expected=f"one of {listed(keys)}",
                    remedy=did_you_mean(needed.task_key, keys),
                )
    names = [parameter.name for parameter in graph.parameters]
    for index, parameter in enumerate(names):
        if parameter in names[:index]:
            document.refuse((*at, "parameters", index), f"the parameter {parameter} occurs twice")
    if circle := cycle(graph):
        document.refuse(
            (*at, "tasks", keys[circle[0]], "depends_on"),
            "the tasks depend on each other in a circle",
            found=" -> ".join(circle),
            remedy="Remove one of these dependencies.",
        )
    _add_unkept_options(document, at, graph)
    if len(document.problems.found) == before:
        _add_wrong_references(document, at, graph)


def _add_unkept_options(document: Document, at: Place, graph: JobGraph) -> None:
    """Options of Databricks Jobs that change what runs, and that the local runner does not keep."""
    if graph.max_concurrent_runs != 1:
        document.refuse(
            (*at, "max_concurrent_runs"), "runs of a graph are not counted: they wait for each other table by table",
            found=graph.max_concurrent_runs, expected="1, or nothing",
        )  # fmt: skip
    for index, task in enumerate(graph.tasks):
        inner = task.for_each_task and task.for_each_task.task
        for place, one in ((("tasks", index), task), (("tasks", index, "for_each_task", "task"), inner)):
            if one and one.retry_on_timeout:
                document.refuse(
                    (*at, *place, "retry_on_timeout"), "timeout_seconds is the time of all attempts together",
                    found="true", expected="false, or nothing", remedy="Raise timeout_seconds.",
                )  # fmt: skip


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


def _add_wrong_references(document: Document, at: Place, graph: JobGraph) -> None:
    for index, task in enumerate(graph.tasks):
        place = (*at, "tasks", index)
        if task.spark_python_task is not None:
            _add_wrong_parameters(document, place, task.spark_python_task, graph, False)
        each = task.for_each_task
        if each is not None:
            inner = (*place, "for_each_task", "task")
            _add_wrong_parameters(document, inner, each.task.spark_python_task, graph, True)
            _add_wrong_inputs(document, (*place, "for_each_task", "inputs"), task, graph)


def _add_wrong_parameters(
    document: Document, place: Place, work: SparkPythonTask, graph: JobGraph, in_loop: bool
) -> None:
    for position, text in enumerate(work.parameters):
        at = (*place, "spark_python_task", "parameters", position)
        for reference in REFERENCE.findall(text):
            _add_wrong_reference(document, at, reference, graph, in_loop)


def _add_wrong_inputs(document: Document, at: Place, task: GraphTask, graph: JobGraph) -> None:
    assert task.for_each_task is not None
    text = task.for_each_task.inputs
    references = REFERENCE.findall(text)
    for reference in references:
        _add_wrong_reference(document, at, reference, graph, False)
    if references:
        return
    try:
        inputs = json.loads(text)
    except ValueError:
        inputs = None
    if not isinstance(inputs, list):
        document.refuse(at, "the inputs are no list", found=text, expected="a JSON array, or {{job.parameters.x}}")


def _add_wrong_reference(document: Document, at: Place, reference: str, graph: JobGraph, in_loop: bool) -> None:
    """A reference such as job.parameters.x to something that is not there, or is not there yet."""
    shown = f"{{{{{reference}}}}}"
    head = reference.partition(".")[0]
    if reference.startswith("job.parameters."):
        name = reference.removeprefix("job.parameters.")
        names = [parameter.name for parameter in graph.parameters]
        if name not in names:
            document.refuse(
                at,
                f"{shown} names no parameter of the job",
                found=name,
                expected=listed(names),
                remedy=did_you_mean(name, names),
            )
    elif head == "input":
        if not in_loop:
            document.refuse(at, f"{shown} stands outside the task of a for_each_task")
    elif reference not in RUN_VALUES:
        known = ("job.parameters.<name>", "input", *RUN_VALUES)
        document.refuse(
            at,
            f"{shown} is no reference that Varve knows",
            expected=listed(known),
            remedy=did_you_mean(reference, known),
        )
