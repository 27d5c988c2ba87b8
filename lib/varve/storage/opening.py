"""The store that a root names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from varve.storage.disk import Disk
from varve.storage.files import Files


def open_files(root: str, **options: Any) -> Files:
    """The objects below a folder (also file://…), or below a URL of an object store.

    options: settings of the object store; they mean nothing to a disk. Raises ConfigError for an unknown scheme.
    """
    scheme, separator, rest = root.partition("://")
    if not separator or scheme == "file":
        return Disk(Path(rest if separator else root))
    from varve.storage.objects import object_files  # a lake on a disk does not load what speaks to clouds

    return object_files(root, **options)
