"""A server of this process, for as long as a test wants it."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

AnyServer = TypeVar("AnyServer", bound=http.server.HTTPServer)


@contextmanager
def serving(server: AnyServer) -> Iterator[AnyServer]:
    """It answers until the body ends."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
