"""The JSON schemas of all configuration, for editors and for whoever writes it by program.

    python -m varve.config.publish conf/schemas      writes them anew; a test proves that they are current

An editor finds them by a first line such as `# yaml-language-server: $schema=../schemas/source.schema.json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from varve.config.contracts import ColumnFacts, TableFacts
from varve.config.jobs import JobsFile
from varve.config.kinds import Kinds
from varve.config.settings import Settings

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> Mapping[str, Mapping[str, Any]]:
    """file name -> JSON schema."""
    return {
        "source.schema.json": _named("A source: conf/sources/*.yml", Kinds().schema()),
        "settings.schema.json": _named("Settings: conf/local.yml, cluster.yml", TypeAdapter(Settings).json_schema()),
        "jobs.schema.json": _named("Job graphs: conf/jobs/*.yml", TypeAdapter(JobsFile).json_schema()),
        "contract.schema.json": _named(
            "Varve's part of a contract, on top of the Open Data Contract Standard 3.1: conf/contracts/*.odcs.yaml",
            _contract_schema(),
        ),
    }


def schema_text(schema: Mapping[str, Any]) -> str:
    """The schema as it is published."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _named(title: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"$schema": _DRAFT, **schema, "title": title}


def _contract_schema() -> dict[str, Any]:
    """Our custom properties where the standard has them; everything else is left to the standard's own schema."""
    table = TypeAdapter(TableFacts).json_schema()
    column = TypeAdapter(ColumnFacts).json_schema()
    definitions = {**table.pop("$defs", {}), **column.pop("$defs", {}), "TableFacts": table}
    return {
        "$defs": definitions,
        "type": "object",
        "required": ["schema"],
        "properties": {
            "apiVersion": {"const": "v3.1.0"},
            "version": {"pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$"},
            "schema": {"type": "array", "minItems": 1, "maxItems": 1, "items": _table_schema(column["properties"])},
        },
    }


def _table_schema(column_facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "properties": {
            "customProperties": _custom_properties({"varve": {"$ref": "#/$defs/TableFacts"}}),
            "quality": _QUALITY,
            "properties": {
                "items": {
                    "required": ["physicalType"],
                    "properties": {"customProperties": _custom_properties(column_facts), "quality": _QUALITY},
                }
            },
        }
    }


def _custom_properties(ours: Mapping[str, Any]) -> dict[str, Any]:
    """Entries with one of our names hold our values; other tools' names have a dot."""
    choices = [
        {"properties": {"property": {"const": name}, "value": value}, "required": ["property", "value"]}
        for name, value in ours.items()
    ]
    return {"type": "array", "items": {"anyOf": [*choices, {"properties": {"property": {"pattern": r"\."}}}]}}


_QUALITY: dict[str, Any] = {
    "type": "array",
    "items": {
        "if": {"properties": {"type": {"const": "text"}}, "required": ["type"]},
        "else": {
            "required": ["type", "engine", "name", "implementation"],
            "properties": {
                "type": {"const": "custom"},
                "engine": {"const": "varve"},
                "name": {"pattern": "^[a-z][a-z0-9_]*$"},
                "implementation": {
                    "type": "string",
                    "description": "A Spark SQL boolean.",
                },
                "severity": {"enum": ["error", "warning"]},
            },
        },
    },
}


def main(arguments: Sequence[str]) -> int:
    """Write every schema into the folder that is given."""
    folder = Path(arguments[0] if arguments else "conf/schemas")
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        (folder / name).write_text(schema_text(schema), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
