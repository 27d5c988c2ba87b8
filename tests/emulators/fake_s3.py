"""A fake of S3 on loopback: moto's, one request at a time. Prints its port; ends with its standard input.

With its own threads it looks whether a key is free and takes it in two steps: of 200 rounds of 16 threads that put one
key if absent, one had two winners. So it would be no judge. Behind a lock it is one for whoever speaks to it, and says
nothing about how S3 keeps its promise.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

_app = DomainDispatcherApplication(create_backend_app)
_lock = threading.Lock()


def one_at_a_time(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    with _lock:
        return list(_app(environ, start_response))


server = make_server("127.0.0.1", 0, one_at_a_time, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.port, flush=True)
sys.stdin.read()
