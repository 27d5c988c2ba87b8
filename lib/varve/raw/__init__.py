"""The landing zone: files exactly as received, framed into records, visible only when complete.

    raw/<source>/<dataset>/country=<c>/entity=<e>/day=<d>/extract=<id>/
        received-<name>          the exact bytes, where there was a file
        part-00000.parquet       _position, _record and the fields c0 … cN in the order of manifest.columns
        rejects-00000.parquet    _position, _record, _reason
        _manifest.json           last: it is the commit, and readers use only the files it lists

`manifests` and `read` are for the next layer; `claim` and `Landing` for extract.
"""

from varve.raw.landing import Landing, Record, claim
from varve.raw.manifest import Manifest, Origin, RawFile
from varve.raw.reading import manifests, parked_error, read, read_rejects, replaced, waiting

__all__ = [
    "Landing",
    "Manifest",
    "Origin",
    "RawFile",
    "Record",
    "claim",
    "manifests",
    "parked_error",
    "read",
    "read_rejects",
    "replaced",
    "waiting",
]
