"""What must hold within one job graph: tasks exist once, without a circle, and refer to what is there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
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
    if len(document.problems.found) == before:
        _add_wrong_references(document, at, graph)


def cycle(graph: JobGraph) -> tuple[str, ...]:
    """Task keys along a circle of dependencies, each depending on the next, first = last; empty when there is none."""
    needs = {task.task_key: [needed.task_key for needed in task.depends_on] for task in graph.tasks}
    finished: set[str] = set()

    def walk(key: str, path: tuple[str, ...]) -> tuple[str, ...]:
        if key in path:
            return (*path[path.index(key) :], key)
        if key in finished:
            return ()
        for needed in needs.get(key, ()):
            if circle := walk(needed, (*path, key)):
                return circle
        finished.add(key)
        return ()

    return next((circle for key in needs if (circle := walk(key, ()))), ())


def _add_wrong_references(document: Document, at: Place, graph: JobGraph) -> None:
    upstream = _upstream(graph)
    for index, task in enumerate(graph.tasks):
        place = (*at, "tasks", index)
        if task.spark_python_task is not None:
            _add_wrong_parameters(document, place, task.spark_python_task, graph, upstream[task.task_key], False)
        each = task.for_each_task
        if each is not None:
            inner = (*place, "for_each_task", "task")
            _add_wrong_parameters(document, inner, each.task.spark_python_task, graph, upstream[task.task_key], True)
            _add_wrong_inputs(document, (*place, "for_each_task", "inputs"), task, graph, upstream)


def _add_wrong_parameters(
    document: Document, place: Place, work: SparkPythonTask, graph: JobGraph, above: set[str], in_loop: bool
) -> None:
    for position, text in enumerate(work.parameters):
        at = (*place, "spark_python_task", "parameters", position)
        for reference in REFERENCE.findall(text):
            _add_wrong_reference(document, at, reference, graph, above, in_loop)


def _add_wrong_inputs(
    document: Document, at: Place, task: GraphTask, graph: JobGraph, upstream: Mapping[str, set[str]]
) -> None:
    assert task.for_each_task is not None
    text = task.for_each_task.inputs
    references = REFERENCE.findall(text)
    for reference in references:
        _add_wrong_reference(document, at, reference, graph, upstream[task.task_key], False)
    if references:
        return
    try:
        inputs = json.loads(text)
    except ValueError:
        inputs = None
    if not isinstance(inputs, list):
        document.refuse(at, "the inputs are no list", found=text, expected="a JSON array, or {{tasks.x.values.y}}")


def _add_wrong_reference(
    document: Document, at: Place, reference: str, graph: JobGraph, above: set[str], in_loop: bool
) -> None:
    """A reference such as job.parameters.x to something that is not there, or is not there yet."""
    shown = f"{{{{{reference}}}}}"
    head, _, rest = reference.partition(".")
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
    elif head == "tasks" and re.fullmatch(r"[A-Za-z0-9_-]+\.values\.\w+", rest):
        key = rest.partition(".")[0]
        if key not in above:
            document.refuse(
                at,
                f"{shown} names a task that does not run before",
                found=key,
                expected=listed(sorted(above)),
                remedy="Add it to depends_on.",
            )
    elif reference not in RUN_VALUES:
        known = ("job.parameters.<name>", "tasks.<task>.values.<key>", "input", *RUN_VALUES)
        document.refuse(
            at,
            f"{shown} is no reference that Varve knows",
            expected=listed(known),
            remedy=did_you_mean(reference, known),
        )


def _upstream(graph: JobGraph) -> Mapping[str, set[str]]:
    """task key -> keys of all tasks that run before it."""
    above: dict[str, set[str]] = {}
    ordered: Sequence[GraphTask] = graph.in_order()
    for task in ordered:
        needed = {n.task_key for n in task.depends_on}
        above[task.task_key] = needed.union(*(above[key] for key in needed))
    return above
