"""Job graphs in the shape of Databricks Jobs (`resources.jobs.<name>` of a bundle); the local runner reads the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, model_validator

from varve.model.fields import Count, Flag, Model, only, wrong

TaskKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
RunIf = Literal["ALL_SUCCESS", "ALL_DONE", "NONE_FAILED", "AT_LEAST_ONE_SUCCESS", "ALL_FAILED", "AT_LEAST_ONE_FAILED"]


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
