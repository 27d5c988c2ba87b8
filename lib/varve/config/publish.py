"""The JSON schemas of all configuration, for editors and for whoever writes it by program.

    python -m varve.config.publish conf/schemas      writes them anew; a test proves that they are current

An editor finds them by a first line such as `# yaml-language-server: $schema=../schemas/source.schema.json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Union

from pydantic import Field, TypeAdapter

from varve.config.contracts import COLUMN_FACTS, TABLE_FACTS
from varve.config.jobs import JobsFile
from varve.config.kinds import Kinds
from varve.config.settings import Settings
from varve.model.contract import Contract

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> Mapping[str, Mapping[str, Any]]:
    """file name -> JSON schema."""
    return {
        "source.schema.json": _named("A source: conf/sources/*.yml", _source_schema()),
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


def _source_schema() -> dict[str, Any]:
    models = tuple(Kinds().connector(name).source for name in Kinds().names())
    shape: Any = Annotated[Union[models], Field(discriminator="kind")]  # noqa: UP007
    return TypeAdapter(shape).json_schema()


def _contract_schema() -> dict[str, Any]:
    """Our custom properties where the standard has them; everything else is left to the standard's own schema."""
    contract = TypeAdapter(Contract).json_schema()
    definitions, fields = contract["$defs"], contract["properties"]
    del definitions["Rule"]
    columns = definitions.pop("Column")["properties"]
    columns["source"] = columns["source_name"]
    fields["layer"]["default"] = "silver"
    definitions["TableFacts"] = {
        "additionalProperties": False, "description": "The custom property `varve` of a table.", "type": "object",
        "properties": {name: fields[name] for name in TABLE_FACTS},
    }  # fmt: skip
    custom = _custom_properties({name: columns[name] for name in COLUMN_FACTS})
    column = {"required": ["physicalType"], "properties": {"customProperties": custom, "quality": _QUALITY}}
    facts = _custom_properties({"varve": {"$ref": "#/$defs/TableFacts"}})
    table = {"properties": {"customProperties": facts, "quality": _QUALITY, "properties": {"items": column}}}
    return {
        "$defs": definitions,
        "type": "object",
        "required": ["schema"],
        "properties": {
            "apiVersion": {"const": "v3.1.0"},
            "version": {"pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$"},
            "schema": {"type": "array", "minItems": 1, "maxItems": 1, "items": table},
        },
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
                "implementation": {"type": "string", "description": "A Spark SQL boolean."},
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
