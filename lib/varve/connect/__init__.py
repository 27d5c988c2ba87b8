"""Systems and folders -> raw. One connector per kind of source; runs beside the source too: no Spark in here.

    files.py                  files in a folder; _files_model.py: what conf/sources states of them
    database/sqlite.py        SQLite files
    _connector.py             what a connector is: `discover`, `check`, `plan`, and takes that `land`
    _extract.py               a dataset, scope by scope, with what the ledger keeps of it
    _known.py                 what was extracted before, so that it is not extracted again
    _takes.py                 the manifest of an extract, drafted and completed
    _scopes.py                whose rows an extract holds

A module without an underscore is a kind, and is found by its name. A kind of your own is such a module in the folder
that holds conf, named under `connectors` in the settings: nothing here changes.
"""

from __future__ import annotations

from typing import cast

from varve.config import Config, Dataset, DatasetOptions, Source
from varve.connect._connector import Connector, Discovered, Finding, Plan, Take
from varve.connect._extract import extract
from varve.connect._known import Known
from varve.connect._scopes import folder_scope
from varve.connect._takes import draft, extract_id, framed_into, parked

__all__ = [
    "Connector",
    "Dataset",
    "DatasetOptions",
    "Discovered",
    "Finding",
    "Known",
    "Plan",
    "Source",
    "Take",
    "connector_of",
    "draft",
    "extract",
    "extract_id",
    "folder_scope",
    "framed_into",
    "parked",
]


def connector_of(config: Config, source: str) -> Connector:
    """The connector of a source."""
    return cast(Connector, config.connectors[config.sources[source].kind])
