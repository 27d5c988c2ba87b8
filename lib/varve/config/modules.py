"""Imports the modules that the configuration names: first from the folder that holds conf, then from below its lib/,
then what is installed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType


def load_module(name: str, folder: Path) -> ModuleType:
    """The module of that name; raises whatever its code raises. folder: the one that holds conf."""
    for base in (folder / "lib", folder):  # the last one put in front is looked at first
        if _is_in(base, name) and str(base) not in sys.path[:2]:
            sys.path.insert(0, str(base))
            importlib.invalidate_caches()
    there = next((base for base in (folder, folder / "lib") if _is_in(base, name)), None)
    if there is not None:
        _forget_others(name, there)
    return importlib.import_module(name)


def _is_in(base: Path, name: str) -> bool:
    place = base.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def _forget_others(name: str, base: Path) -> None:
    """Modules of that name that another configuration brought into this process."""
    top = name.partition(".")[0]
    loaded = sys.modules.get(top)
    if loaded is not None and base not in Path(getattr(loaded, "__file__", None) or "/").parents:
        for known in [known for known in sys.modules if known.partition(".")[0] == top]:
            del sys.modules[known]
