"""Servers that stall, cut, send too much, or lead elsewhere."""

import http.server
import time
from collections.abc import Iterator
from typing import Any

import pytest

from quire.artifacts import address, http_folder
from quire.artifacts.address import Address
from quire.artifacts.errors import BundleError
from tests.serving import serving

BODY = bytes(range(256)) * 8


class Server(http.server.ThreadingHTTPServer):
    """Answers by the name of what is asked for, and keeps what came with each request."""

    daemon_threads = True

    def __init__(self) -> None:
        self.elsewhere = ""
        self.asked: list[tuple[str, str | None]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://me:secret@127.0.0.1:{self.server_port}/folder"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        if name == "stalls":
            time.sleep(1)
        elif name == "stalls-in-the-middle":
            self.begin(200, len(BODY))
            self.wfile.write(BODY[:100])
            self.wfile.flush()
            time.sleep(1)
        elif name == "cut":
            self.begin(200, len(BODY))
            self.wfile.write(BODY[:100])
            self.close_connection = True
        elif name == "endless":
            self.begin(200, None)
            for _ in range(1000):
                self.wfile.write(BODY)
            self.close_connection = True
        elif name == "moved":
            self.begin(302, 0, Location=self.server.elsewhere)
        elif name == "circle":
            self.begin(302, 0, Location="circle")
        else:
            self.begin(200, len(BODY))
            self.wfile.write(BODY)

    def begin(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Server]]:
    """Two servers on different hosts, as far as their names tell."""
    monkeypatch.setattr(address, "_PAUSE", 0)
    monkeypatch.setattr(http_folder, "_SECONDS", 0.2)
    with serving(Server()) as first, serving(Server()) as second:
        yield first, second


@pytest.mark.parametrize("name", ["stalls", "stalls-in-the-middle", "cut"])
def test_a_server_that_stalls_or_cuts_is_given_up_on(two: tuple[Server, Server], name: str) -> None:
    with pytest.raises(BundleError, match=f"folder/{name} cannot be fetched") as caught:
        Address(two[0].address).read(name)
    assert len(two[0].asked) == 3 and "secret" not in str(caught.value)


def test_what_has_no_end_is_not_read_to_it(two: tuple[Server, Server]) -> None:
    with pytest.raises(BundleError, match="endless has more than 5,000 bytes"):
        Address(two[0].address).read("endless", most=5000)


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://example.org/x", "javascript:x"])
def test_no_redirection_leaves_the_protocol(two: tuple[Server, Server], place: str) -> None:
    two[0].elsewhere = place
    with pytest.raises(BundleError, match="leads nowhere"):
        Address(two[0].address).read("moved")


def test_a_circle_of_redirections_ends(two: tuple[Server, Server]) -> None:
    with pytest.raises(BundleError, match="leads nowhere"):
        Address(two[0].address).read("circle")


def test_another_host_is_told_no_password(two: tuple[Server, Server]) -> None:
    first, second = two
    first.elsewhere = f"http://localhost:{second.server_port}/other/file"
    assert Address(first.address).read("moved") == BODY
    assert first.asked[0][1] is not None
    assert second.asked == [("/other/file", None)]


def test_the_same_host_is_told_it_again(two: tuple[Server, Server]) -> None:
    first, _ = two
    first.elsewhere = "/folder/file"
    assert Address(first.address).read("moved") == BODY
    assert first.asked[0][1] == first.asked[1][1] is not None
