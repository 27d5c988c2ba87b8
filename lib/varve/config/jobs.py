"""Job graphs in the shape of Databricks Jobs (`resources.jobs.<name>` of a bundle); the local runner reads the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Final, Literal

from pydantic import Field, Strict, model_validator

from varve.config.documents import Document, Place
from varve.config.problems import did_you_mean, listed, repeated
from varve.model.fields import Count, Flag, Model, only, wrong

TaskKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
RunIf = Literal["ALL_SUCCESS", "ALL_DONE", "NONE_FAILED", "AT_LEAST_ONE_SUCCESS", "ALL_FAILED", "AT_LEAST_ONE_FAILED"]

# Databricks' own values that the local runner gives too.
RUN_VALUES: Final = ("job.name", "job.run_id", "job.start_time.iso_date", "task.name")


class Parameter(Model):
    """A parameter of the job: `{{job.parameters.<name>}}`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    default: str


class DependsOn(Model):
    """A task that must have ended before, by its key."""

    task_key: TaskKey


class SparkPythonTask(Model):
    """A Python file of `jobs/`."""

    python_file: Annotated[str, Field(min_length=1)]
    """Path relative to this file, as Databricks reads it."""
    parameters: tuple[str, ...] = ()


def _is_list(text: str) -> bool:
    try:
        return "{{" in text or isinstance(json.loads(text), list)
    except ValueError:
        return False


class _Described(Model):
    """What jobs and tasks share."""

    description: str = ""
    timeout_seconds: Count = 0
    """0: none."""
    # Databricks' own, which the local runner passes over
    email_notifications: Mapping[str, Any] | None = None
    notification_settings: Mapping[str, Any] | None = None
    webhook_notifications: Mapping[str, Any] | None = None
    health: Mapping[str, Any] | None = None


class _Work(_Described):
    """What a task and the task inside a for-each share."""

    task_key: TaskKey
    spark_python_task: SparkPythonTask | None = None
    max_retries: Annotated[int, Strict(), Field(ge=-1)] = 0
    """-1: without limit."""
    min_retry_interval_millis: Count = 0
    retry_on_timeout: Annotated[
        Flag, only(False.__eq__, "timeout_seconds is the time of all attempts together", found="true",
                   expected="false, or nothing", remedy="Raise timeout_seconds."),
    ] = False  # fmt: skip
    # Databricks' own, which the local runner passes over
    existing_cluster_id: str | None = None
    job_cluster_key: str | None = None
    environment_key: str | None = None
    new_cluster: Mapping[str, Any] | None = None
    libraries: tuple[Mapping[str, Any], ...] = ()


class InnerTask(_Work):
    """The task that a for-each runs for every input."""

    spark_python_task: SparkPythonTask


class ForEachTask(Model):
    """One task, run for every element of `inputs` (a JSON array, or a reference to a task value): `{{input}}`."""

    inputs: Annotated[str, only(_is_list, "the inputs are no list", expected="a JSON array, or {{job.parameters.x}}")]
    concurrency: Annotated[int, Strict(), Field(ge=1)] = 1
    task: InnerTask


class GraphTask(_Work):
    """One step of a job."""

    depends_on: tuple[DependsOn, ...] = ()
    run_if: RunIf = "ALL_SUCCESS"
    for_each_task: ForEachTask | None = None
    disable_auto_optimization: Flag | None = None

    @model_validator(mode="after")
    def _does_one_thing(self) -> GraphTask:
        if (self.spark_python_task is None) == (self.for_each_task is None):
            found = "neither" if self.spark_python_task is None else "both"
            raise wrong("a task does exactly one thing", found=found, expected="spark_python_task or for_each_task")
        return self


class JobGraph(_Described):
    """A job: tasks and what they depend on."""

    name: str
    parameters: tuple[Parameter, ...] = ()
    tasks: Annotated[tuple[GraphTask, ...], Field(min_length=1)]
    max_concurrent_runs: Annotated[
        Count, only((1).__eq__, "runs of a graph are not counted: they wait for each other table by table",
                    expected="1, or nothing"),
    ] = 1  # fmt: skip
    # Databricks' own, which the local runner passes over
    schedule: Mapping[str, Any] | None = None
    trigger: Mapping[str, Any] | None = None
    continuous: Mapping[str, Any] | None = None
    queue: Mapping[str, Any] | None = None
    tags: Mapping[str, str] = Field(default_factory=dict)
    job_clusters: tuple[Mapping[str, Any], ...] = ()
    environments: tuple[Mapping[str, Any], ...] = ()
    permissions: tuple[Mapping[str, Any], ...] = ()
    run_as: Mapping[str, Any] | None = None
    edit_mode: str | None = None
    performance_target: str | None = None
    budget_policy_id: str | None = None

    def task(self, key: str) -> GraphTask:
        """The task of that key; KeyError when there is none."""
        return {task.task_key: task for task in self.tasks}[key]

    def in_order(self) -> tuple[GraphTask, ...]:
        """The tasks, each after all that it depends on; otherwise in the order of the file."""
        done: dict[str, GraphTask] = {}
        while waiting := [task for task in self.tasks if task.task_key not in done]:
            task = next(task for task in waiting if all(needed.task_key in done for needed in task.depends_on))
            done[task.task_key] = task
        return tuple(done.values())


class _Resources(Model):
    jobs: Annotated[Mapping[str, JobGraph], Field(min_length=1)]


class JobsFile(Model):
    """A file of `conf/jobs`."""

    resources: _Resources


def add_wrong_flow(document: Document, name: str, graph: JobGraph) -> None:
    """Everything that is wrong in the graph `name` of the document."""
    at: Place = ("resources", "jobs", name)
    before = len(document.problems.found)
    keys = [task.task_key for task in graph.tasks]
    parameters = [parameter.name for parameter in graph.parameters]
    for index, _ in repeated(parameters):
        document.refuse((*at, "parameters", index), f"the parameter {parameters[index]} occurs twice")
    for index, _ in repeated(keys):
        document.refuse((*at, "tasks", index, "task_key"), f"the task {keys[index]} occurs twice")
    if len(document.problems.found) > before:
        return
    for index, task in enumerate(graph.tasks):
        for position, needed in enumerate(task.depends_on):
            place = (*at, "tasks", index, "depends_on", position, "task_key")
            what = f"the task {task.task_key} depends on a task that is not there"
            document.refuse_unknown(place, what, needed.task_key, keys)
    try:
        TopologicalSorter({t.task_key: [needed.task_key for needed in t.depends_on] for t in graph.tasks}).prepare()
    except CycleError as error:
        *circle, _ = reversed(error.args[1])  # it names what is needed before what needs it
        first = circle.index(min(circle, key=keys.index))
        circle = [*circle[first:], *circle[:first], circle[first]]
        what, remedy = "the tasks depend on each other in a circle", "Remove one of these dependencies."
        place = (*at, "tasks", keys.index(circle[0]), "depends_on")
        document.refuse(place, what, found=" -> ".join(circle), remedy=remedy)
    for place, text in _texts(at, graph):
        for reference in re.findall(r"\{\{\s*(.*?)\s*\}\}", text):
            _add_wrong_reference(document, place, reference, parameters)


def _texts(at: Place, graph: JobGraph) -> Iterator[tuple[Place, str]]:
    """Every text that may have references, with its place."""
    for index, task in enumerate(graph.tasks):
        place, work, loop = (*at, "tasks", index), task.spark_python_task, task.for_each_task
        if loop:
            yield (*place, "for_each_task", "inputs"), loop.inputs
            place, work = (*place, "for_each_task", "task"), loop.task.spark_python_task
        for position, text in enumerate(work.parameters if work else ()):
            yield (*place, "spark_python_task", "parameters", position), text


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
