"""The landing zone: files exactly as received, framed into records, visible only when complete.

    raw/<source>/<dataset>/
        manifests/000000000001.json      the commit of an extract; readers use only the files that it lists
        attempts/                        what is being written
        country=<c>/entity=<e>/day=<d>/extract=<id>/
            received-<attempt>-<name>          the exact bytes, where there was a file
            part-<attempt>-00000.parquet       _position, _record, the fields c0 … cN in the order of manifest.columns
            rejects-<attempt>-00000.parquet    _position, _record, _reason

`RawDataset` and `read` are for the next layer; `publishing` for extract.
"""

from varve.raw.catalog import Catalog, RawDataset, parked_error, replaced, waiting
from varve.raw.landing import Landing, Publisher, publishing
from varve.raw.manifest import Manifest, Origin, Published, RawFile
from varve.raw.reading import PART, parts, read, read_rejects, spoiled

__all__ = [
    "PART",
    "Catalog",
    "Landing",
    "Manifest",
    "Origin",
    "Published",
    "Publisher",
    "RawDataset",
    "RawFile",
    "parked_error",
    "parts",
    "publishing",
    "read",
    "read_rejects",
    "replaced",
    "spoiled",
    "waiting",
]
