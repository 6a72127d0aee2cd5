"""Files over HTTP, whole or in part, by connections that are kept.

The client that fsspec has for it takes twice the time for a part of a megabyte, and tells only some
servers apart from those that cannot send parts.
"""

import base64
import http.client
import re
import threading
import urllib.parse
import urllib.request
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

_SECONDS = 60  # without a byte
_REDIRECTS = 5
_PART = re.compile(r"bytes (\d+)-(\d+)/")


class WholeOnly(Exception):
    """A server that was asked for a part of a file sends all of it."""


class TooLarge(Exception):
    """A file has more bytes than anybody wants."""

    def __init__(self, most: int) -> None:
        super().__init__(f"has more than {most:,} bytes")


class Refused(Exception):
    """What a server answers instead of a file."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the server answers {status} {reason}".rstrip())
        self.status = status

    @property
    def passes(self) -> bool:
        """Whether it may answer otherwise the next time."""
        return self.status >= 500 or self.status in (408, 425, 429)


class HTTPFolder:
    """The files below an address; by any number of threads, each with a connection of its own."""

    def __init__(self, address: str) -> None:
        """`address` may have a user and a password, and a query that goes with every file."""
        parts = urlsplit(address)
        self._base = parts._replace(path=quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~"))
        self._own = threading.local()
        self._all: set[http.client.HTTPConnection] = set()
        weakref.finalize(self, _close, self._all)

    def read(self, name: str, most: int) -> bytes:
        """All of a file of at most so many bytes.

        Raises:
            TooLarge: it has more.
            Refused: the server does not send it.
            OSError, http.client.HTTPException: the connection fails.
        """
        with self._closing():
            response = self._get(name, {})
            if response.status != 200:
                raise Refused(response.status, response.reason)
            body = response.read(most + 1)
            if len(body) > most:
                raise TooLarge(most)
            if response.length:  # which the server said there is, and did not send
                raise http.client.IncompleteRead(body, response.length)
            return body

    def read_part(self, name: str, start: int, into: memoryview) -> None:
        """As many bytes of a file from `start` on as there is space for.

        Raises:
            WholeOnly: the server would send the whole file.
            Refused: it does not send it.
            OSError, http.client.HTTPException: the connection fails, or other bytes come.
        """
        last = start + len(into) - 1
        with self._closing():
            response = self._get(name, {"Range": f"bytes={start}-{last}"})
            if response.status == 200:
                raise WholeOnly
            if response.status != 206:
                raise Refused(response.status, response.reason)
            sent = _PART.match(response.headers.get("Content-Range", ""))
            if sent is None or [int(number) for number in sent.groups()] != [start, last]:
                raise OSError("the server sends other bytes than it was asked for")
            done = 0
            while done < len(into) and (count := response.readinto(into[done:])):
                done += count
            if done < len(into) or response.read(1):
                raise OSError("the server sends more, or less, than it was asked for")

    @contextmanager
    def _closing(self) -> Iterator[None]:
        """Let go of this thread's connections if a file does not come whole: the rest of it would.

        The next request makes new ones.
        """
        try:
            yield
        except Exception:
            for connection, _ in self._own.__dict__.pop("connections", {}).values():
                connection.close()
                self._all.discard(connection)
            raise

    def _get(self, name: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """The answer to a request, wherever it is redirected to."""
        place = self._base._replace(path=f"{self._base.path}/{quote(name)}")
        for _ in range(_REDIRECTS + 1):
            response = self._ask(place, headers)
            location = response.headers.get("Location")
            if response.status not in (301, 302, 303, 307, 308) or location is None:
                return response
            response.read()
            place = urlsplit(urljoin(place.geturl(), location))
            if place.scheme not in ("http", "https"):
                break
        raise Refused(response.status, "and leads nowhere")

    def _ask(self, place: SplitResult, headers: dict[str, str]) -> http.client.HTTPResponse:
        target = urllib.parse.urlunsplit(("", "", place.path or "/", place.query, ""))
        connection, before = self._connection(place)
        own = {"User-Agent": "quire", "Accept-Encoding": "identity", **headers}
        if place.username is not None and place.hostname == self._base.hostname:
            pair = f"{unquote(place.username)}:{unquote(place.password or '')}"
            own["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        connection.request("GET", before + target, headers=own)
        return connection.getresponse()

    def _connection(self, place: SplitResult) -> tuple[http.client.HTTPConnection, str]:
        """This thread's connection to a host, and what it wants before a path.

        Where there is a proxy, the connection is to that, which tunnels what is secure.
        """
        kept: dict[tuple[str, str], tuple[http.client.HTTPConnection, str]]
        kept = self._own.__dict__.setdefault("connections", {})
        host = place.netloc.rpartition("@")[2]
        if (place.scheme, host) not in kept:
            proxy = urllib.request.getproxies().get(place.scheme)
            if proxy and urllib.request.proxy_bypass(place.hostname or ""):
                proxy = None
            through = urlsplit(proxy).netloc.rpartition("@")[2] if proxy else host
            secure = place.scheme == "https"
            kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            connection = kind(through, timeout=_SECONDS)
            if proxy and secure:
                connection.set_tunnel(host)
            kept[place.scheme, host] = connection, f"http://{host}" if proxy and not secure else ""
            self._all.add(connection)
        return kept[place.scheme, host]


def _close(connections: set[http.client.HTTPConnection]) -> None:
    for connection in connections:
        connection.close()
