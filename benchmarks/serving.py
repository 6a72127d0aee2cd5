"""A folder served over HTTP by another process of this machine, near, far, or over a slow line."""

import asyncio
import multiprocessing
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

_CHUNK = 1 << 16  # bytes that go over a slow line at a time


def served(folder: Path, port: int, latency: float, rate: float | None) -> None:
    """Serve a folder, in parts where these are asked for.

    Args:
        folder: what is served.
        port: of this machine.
        latency: seconds before each answer.
        rate: bytes a second of all answers together; None for no limit.
    """

    @web.middleware
    async def far(request: web.Request, handler: Any) -> web.StreamResponse:
        await asyncio.sleep(latency)
        answer: web.StreamResponse = await handler(request)
        return answer

    app = web.Application(middlewares=[far] if latency else [])
    if rate is None:
        app.router.add_static("/", folder)
    else:
        app.router.add_get("/{name}", _Slow(folder, rate))
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


class _Slow:
    """Answers that share one line."""

    def __init__(self, folder: Path, rate: float) -> None:
        self.folder = folder
        self.rate = rate
        self.free = 0.0  # when the line is, on the loop's clock

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        path = self.folder / request.match_info["name"]
        if not path.is_file():
            raise web.HTTPNotFound
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
        size = path.stat().st_size
        first, last = map(int, asked.groups()) if asked else (0, size - 1)
        last = min(last, size - 1)
        answer = web.StreamResponse(status=206 if asked else 200)
        answer.content_length = last + 1 - first
        if asked:
            answer.headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        await answer.prepare(request)
        loop = asyncio.get_running_loop()
        with path.open("rb") as file:
            file.seek(first)
            left = last + 1 - first
            while left:
                part = file.read(min(_CHUNK, left))
                left -= len(part)
                self.free = max(self.free, loop.time()) + len(part) / self.rate
                await asyncio.sleep(max(0.0, self.free - loop.time()))
                await answer.write(part)
        return answer


@contextmanager
def address(folder: Path, latency: float, rate: float | None = None) -> Iterator[str]:
    """A folder's address while another process serves it; see `served`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = multiprocessing.get_context("spawn").Process(
        target=served, args=(folder, port, latency, rate), daemon=True
    )
    server.start()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.join()
