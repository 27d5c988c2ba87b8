"""A configuration that a test writes itself, document by document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml


def write(conf: Path, path: str, document: Mapping[str, object]) -> None:
    """A document of the configuration, at its path below `conf`."""
    file = conf / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(document), encoding="utf-8")


def write_contract(
    conf: Path, name: str, facts: Mapping[str, object], columns: Sequence[Mapping[str, object]], **more: object
) -> None:
    """The contract of a table. facts: what Varve wants to know beside the standard; more: fields of the table."""
    properties = [{"property": "varve", "value": facts}]
    table = {"name": name, "customProperties": properties, "properties": columns, **more}
    head = {"apiVersion": "v3.1.0", "kind": "DataContract", "id": name, "version": "1.0.0", "status": "active"}
    write(conf, f"contracts/{name}.odcs.yaml", {**head, "schema": [table]})
