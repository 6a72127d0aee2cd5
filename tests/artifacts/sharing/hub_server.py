"""A stand-in of the few calls of the Hugging Face Hub that reading and writing files takes."""

import base64
import http.server
import json
import re
from typing import Any
from urllib.parse import unquote

REPOSITORY = "someone/bundle"
TOKEN = "hf_hidden"


class HubServer(http.server.ThreadingHTTPServer):
    """One repository of a dataset, with the files of its last commit."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {".gitattributes": b"*.tar filter=lfs\n"}
        self.commits: list[list[str]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT has to be."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        api = f"/api/datasets/{REPOSITORY}"
        tree = re.fullmatch(rf"{api}/tree/main/?(.*)", path)
        file = re.fullmatch(rf"/datasets/{REPOSITORY}/resolve/main/(.*)", path)
        if path in (api, f"{api}/revision/main"):
            self.answer(200, {"id": REPOSITORY, "sha": "0" * 40, "siblings": [], "tags": []})
        elif tree:
            self.tree(tree[1].strip("/"))
        elif file and file[1] in self.server.files:
            self.file(self.server.files[file[1]])
        else:
            self.answer(404, {"error": "none"}, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def tree(self, below: str) -> None:
        """The entries of a folder."""
        prefix = f"{below}/" if below else ""
        names = {n.removeprefix(prefix) for n in self.server.files if n.startswith(prefix)}
        if below and not names:
            self.answer(404, {"error": "none"}, {"X-Error-Code": "EntryNotFound"})
            return
        entries: list[dict[str, Any]] = []
        for name in sorted({name.partition("/")[0] for name in names}):
            path = prefix + name
            if path in self.server.files:
                size = len(self.server.files[path])
                entries.append({"type": "file", "path": path, "size": size, "oid": "0" * 40})
            else:
                entries.append({"type": "directory", "path": path, "size": 0, "oid": "0" * 40})
        self.answer(200, entries)

    def file(self, body: bytes) -> None:
        """A file, or a part of it."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        about = {"ETag": '"0"', "X-Repo-Commit": "0" * 40}
        if asked is None:
            self.send(200, body, about)
            return
        first, last = map(int, asked.groups())
        part = body[first : last + 1]
        about["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(body)}"
        self.send(206, part, about)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, {"error": "who?"})
        elif self.path.endswith("/preupload/main"):
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self.answer(200, {"files": files})
        elif self.path.partition("?")[0].endswith("/commit/main"):
            self.commit([json.loads(line) for line in body.splitlines() if line])
        else:
            self.answer(404, {"error": "none"})

    def commit(self, lines: list[dict[str, Any]]) -> None:
        """Add and remove files."""
        changed = []
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.server.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] in ("deletedFile", "deletedFolder"):
                gone = value["path"].rstrip("/")
                for name in [*self.server.files]:
                    if name == gone or name.startswith(f"{gone}/"):
                        del self.server.files[name]
            if line["key"] != "header":
                changed.append(value["path"])
        self.server.commits.append(changed)
        oid = {"commitUrl": f"{self.server.endpoint}/{REPOSITORY}/commit/0", "commitOid": "0" * 40}
        self.answer(200, oid)

    def answer(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        """An answer in JSON."""
        kind = {"Content-Type": "application/json"}
        self.send(status, json.dumps(value).encode(), {**kind, **(headers or {})})

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """An answer."""
        self.send_response(status)
        for name, text in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing."""
