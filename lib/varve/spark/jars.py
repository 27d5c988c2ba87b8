"""The jars that Spark needs beside its own, by the sums of their bytes.

Only what pyspark does not ship: tried with create, append, MERGE, DELETE, OPTIMIZE, VACUUM and deletion vectors.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Jar:
    """One artifact: Maven coordinates and the sum of its bytes."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    @property
    def path(self) -> str:
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.file}"

    def is_at(self, path: Path) -> bool:
        """Whether `path` holds exactly this jar."""
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256


JARS = (
    Jar(
        "io.delta",
        "delta-spark_4.2_2.13",
        "4.4.0",
        "27d4fd8b1f879535c573ed1c718177d6a27f24d3e626ba02e216369725721ead",
    ),
    Jar("io.delta", "delta-storage", "4.4.0", "c46735481fa8e326b0957be02b4420cbcab4b325bb08009b7f2045a95133f1cc"),
)


def jars_folder() -> Path:
    """Where set-up puts the jars: in the project, unless VARVE_JARS says another folder."""
    return Path(os.environ.get("VARVE_JARS") or Path(__file__).resolve().parents[3] / ".jars")
