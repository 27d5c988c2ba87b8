"""What must hold within one job graph: tasks exist once, without a circle, and refer to what is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Final

from varve.config.documents import Document, Place
from varve.config.jobs import JobGraph
from varve.config.problems import did_you_mean, listed

# Databricks' own values that the local runner gives too.
RUN_VALUES: Final = ("job.name", "job.run_id", "job.start_time.iso_date", "task.name")


def add_wrong_flow(document: Document, name: str, graph: JobGraph) -> None:
    """Everything that is wrong in the graph `name` of the document."""
    at: Place = ("resources", "jobs", name)
    before = len(document.problems.found)
    keys = [task.task_key for task in graph.tasks]
    parameters = [parameter.name for parameter in graph.parameters]
    for names, place, what in (
        (keys, ("tasks", "task_key"), "task"),
        (parameters, ("parameters", "name"), "parameter"),
    ):
        for index, one in enumerate(names):
            if one in names[:index]:
                document.refuse((*at, place[0], index, place[1]), f"the {what} {one} occurs twice")
    if len(document.problems.found) > before:
        return
    for index, task in enumerate(graph.tasks):
        for position, needed in enumerate(task.depends_on):
            place_of_it = (*at, "tasks", index, "depends_on", position, "task_key")
            what = f"the task {task.task_key} depends on a task that is not there"
            document.refuse_unknown(place_of_it, what, needed.task_key, keys)
    try:
        TopologicalSorter({t.task_key: [needed.task_key for needed in t.depends_on] for t in graph.tasks}).prepare()
    except CycleError as error:
        *circle, _ = reversed(error.args[1])  # it names what is needed before what needs it
        first = circle.index(min(circle, key=keys.index))
        circle = [*circle[first:], *circle[:first], circle[first]]
        what, remedy = "the tasks depend on each other in a circle", "Remove one of these dependencies."
        place_of_it = (*at, "tasks", keys.index(circle[0]), "depends_on")
        document.refuse(place_of_it, what, found=" -> ".join(circle), remedy=remedy)
    for place_of_it, text in _texts(at, graph):
        for reference in re.findall(r"\{\{\s*(.*?)\s*\}\}", text):
            _add_wrong_reference(document, place_of_it, reference, parameters)


def _texts(at: Place, graph: JobGraph) -> Iterator[tuple[Place, str]]:
    """Every text that may have references, with its place."""
    for index, task in enumerate(graph.tasks):
        place, loop = (*at, "tasks", index), task.for_each_task
        works = [(place, task.spark_python_task)]
        if loop:
            yield (*place, "for_each_task", "inputs"), loop.inputs
            works = [((*place, "for_each_task", "task"), loop.task.spark_python_task)]
        for where, work in works:
            for position, text in enumerate(work.parameters if work else ()):
                yield (*where, "spark_python_task", "parameters", position), text


def _add_wrong_reference(document: Document, at: Place, reference: str, parameters: list[str]) -> None:
    """A reference such as job.parameters.x to something that is not there."""
    shown, name = f"{{{{{reference}}}}}", reference.removeprefix("job.parameters.")
    known = ("job.parameters.<name>", "input", *RUN_VALUES)
    if name != reference:
        what, expected = f"{shown} names no parameter of the job", listed(parameters)
        document.refuse_unknown(at, what, name, parameters, expected=expected)
    elif reference.partition(".")[0] == "input":
        if "task" not in at[3:]:
            document.refuse(at, f"{shown} stands outside the task of a for_each_task")
    elif reference not in RUN_VALUES:
        what, remedy = f"{shown} is no reference that Varve knows", did_you_mean(reference, known)
        document.refuse(at, what, expected=listed(known), remedy=remedy)
