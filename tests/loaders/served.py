"""A server of bundles, which serves badly where it is told to."""

import base64
import http.server
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder, badly where it is told to: `faults` maps a file to how, and how often."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[str, tuple[str, int]] = {}
        self.asked: list[str] = []
        self.sent = 0  # bytes of shards
        self.ranges = True  # whether parts of files are sent
        self.query = ""  # without which nothing is sent
        self.user = ""  # with a password
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.removeprefix("/").partition("?")
        name = unquote(path)
        file = self.server.folder / name
        self.server.asked.append(name)
        allowed = f"Basic {base64.b64encode(self.server.user.encode()).decode()}"
        if self.server.user and self.headers.get("Authorization") != allowed:
            self.answer(401, b"")
        elif query != self.server.query:
            self.answer(403, b"<html>" + b"no " * 500)
        elif name.startswith("moved/"):
            place = f"/{name.removeprefix('moved/')}"
            self.answer(302, b"", {"Location": place})
        elif not file.is_file():
            self.answer(404, b"")
        else:
            self.send(name, file.read_bytes())

    def send(self, name: str, body: bytes) -> None:
        fault, times = self.server.faults.get(name, ("", 0))
        if times:
            self.server.faults[name] = fault, times - 1
        else:
            fault = ""
        if fault == "refused":
            self.answer(503, b"")
            return
        if fault == "flipped":
            body = body[:600] + bytes([body[600] ^ 1]) + body[601:]
        status, headers = 200, {}
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and self.server.ranges:
            first, last = map(int, asked.groups())
            if fault == "other bytes":
                first, last = first + 1, last + 1
            if fault == "too much":
                last += 5
            status, headers = 206, {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
            body = body[first : last + 1] + b"more!" * (fault == "more than it says")
        if name.endswith(".tar"):
            self.server.sent += len(body)
        if fault == "short":  # an honest header for a body that ends early
            body = body[:1024]
        self.answer(status, body, headers, dropped=fault == "dropped")

    def answer(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        dropped: bool = False,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1024] if dropped else body)
        self.close_connection = self.close_connection or dropped

    def log_message(self, *args: Any) -> None:
        pass
