"""A client of what is served beside calls: plain HTTP, as curl and others send it."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from tests.front_door.conftest import Daemon, eventually

MIB = 2**20


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def words(self) -> list[str]:
        """The first words of an error: its code and parameters."""
        return self.body.decode().split()


class Web:
    """Requests to a daemon, in one session."""

    def __init__(self, daemon: Daemon, session: Any, url: str = "") -> None:
        """`url` is another of the daemon's than its first."""
        self.daemon = daemon
        self.session = session
        self.api: Any = session.xenapi
        parts = urlsplit(url or daemon.url)
        self.tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self.tls = ssl.create_default_context(cafile=str(daemon.state / "server.pem"))
            self.tls.check_hostname = False
        assert parts.hostname is not None
        assert parts.port is not None
        self.host, self.port = parts.hostname, parts.port

    def path(self, path: str, **query: str | None) -> str:
        """A path with its query; the session goes along unless it is given as None."""
        given = {"session_id": self.session._session, **query}
        return f"{path}?" + "&".join(f"{key}={quote(value)}" for key, value in given.items() if value is not None)

    def send(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = {}, **query: str | None
    ) -> Answer:
        if self.tls is None:
            client = http.client.HTTPConnection(self.host, self.port, timeout=60)
        else:
            client = http.client.HTTPSConnection(self.host, self.port, timeout=60, context=self.tls)
        try:
            chunked = body is not None and not isinstance(body, bytes)
            if chunked:
                headers = {"Transfer-Encoding": "chunked", **headers}
            client.request(method, self.path(path, **query), body, dict(headers), encode_chunked=chunked)
            response = client.getresponse()
            return Answer(response.status, response.msg, response.read())
        finally:
            client.close()

    def get(self, path: str, headers: Mapping[str, str] = {}, **query: str | None) -> Answer:
        return self.send("GET", path, None, headers, **query)

    def put(self, path: str, body: Any, headers: Mapping[str, str] = {}, **query: str | None) -> Answer:
        return self.send("PUT", path, body, headers, **query)

    @contextmanager
    def link(self) -> Iterator[socket.socket]:
        """A bare connection."""
        with socket.create_connection((self.host, self.port), timeout=60) as link:
            if self.tls is None:
                yield link
                return
            with self.tls.wrap_socket(link) as wrapped:
                yield wrapped

    @contextmanager
    def uploading(self, path: str, length: int, begun: bytes, **query: str | None) -> Iterator[socket.socket]:
        """A connection on which an upload of `length` bytes has begun with these."""
        with self.link() as link:
            head = f"PUT {self.path(path, **query)} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
            link.sendall(head.encode() + begun)
            yield link

    # --- what there is

    def task(self, **fields: str) -> str:
        """A task of the client's own."""
        made: str = self.api.task.create("upload", "")
        return made

    def ended(self, task: str) -> dict[str, Any]:
        """The record of a task that has ended."""

        def record() -> Any:
            found = self.api.task.get_record(task)
            return found if found["status"] not in ("pending", "cancelling") else None

        ended: dict[str, Any] = eventually(record, "the end of a task")
        return ended

    def sr(self) -> str:
        found: str = self.api.pool.get_default_SR(self.api.pool.get_all()[0])
        return found

    def disk(self, size: int = 4 * MIB, **fields: Any) -> str:
        record = {"name_label": "disk", "SR": self.sr(), "virtual_size": str(size), "type": "user", **fields}
        made: str = self.api.VDI.create(record)
        return made

    def file(self, vdi: str) -> Path:
        """Where a disk is."""
        return Path(self.api.VDI.get_location(vdi))

    def files(self) -> list[str]:
        """Everything in the folder of the default storage, hidden files too."""
        folder = self.daemon.state / "storage" / self.api.SR.get_uuid(self.sr())
        return sorted(path.name for path in folder.iterdir())


def answer_of(link: socket.socket) -> tuple[int, bytes]:
    """Status and body of what comes until the connection ends, or the body is all there."""
    response = http.client.HTTPResponse(link)
    response.begin()
    return response.status, response.read()
