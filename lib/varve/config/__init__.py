"""Configuration: typed, read whole and validated before any session opens.

    conf/local.yml, cluster.yml    Settings       where things are, how big
    conf/sources/*.yml             Source         how to reach a system, what to take from it
    conf/contracts/*.odcs.yaml     Contract       what a table is
    conf/jobs/*.yml                JobGraph       what runs after what
    conf/codes/*.csv                              code lists

`load(conf_dir)` gives a Config, or one ConfigError that names every file and line to correct.
"""

from varve.config.jobs import ForEachTask, GraphTask, JobGraph, SparkPythonTask
from varve.config.loading import Config, job_graphs, load
from varve.config.secrets import Secret
from varve.config.settings import Pseudonyms, Settings
from varve.config.sources import Dataset, DatasetOptions, FromColumn, FromPath, Kind, ScopeRule, Source

__all__ = [
    "Config", "Dataset", "DatasetOptions", "ForEachTask", "FromColumn", "FromPath", "GraphTask", "JobGraph", "Kind",
    "Pseudonyms", "ScopeRule", "Secret", "Settings", "Source", "SparkPythonTask", "job_graphs", "load",
]  # fmt: skip
