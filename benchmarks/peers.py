"""What the agent is compared with, as servers of their own: ``python -m benchmarks.peers KIND FILE``.

``raw`` sends the octets of a file whatever it is asked, which is what loopback can do; ``file`` reads the file anew for
every request and sends it as it is read, which is what loopback and the file system can do; ``echo`` answers with the
octets on aiohttp's low-level server and uvloop, which is what the agent's HTTP library can do; ``stdlib`` serves the
records of a file with the standard library's SimpleXMLRPCServer, which is what one would write in an hour. Each prints
its port.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import xmlrpc.client
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

import uvloop
from aiohttp import web

HOST = "127.0.0.1"
BACKLOG = 1024
PIECE = 2**20


def raw(path: Path) -> None:
    """One connection after the other; every request, which comes in one piece, is answered with the file."""
    body = path.read_bytes()
    answer = [_head(len(body)) + body]
    _answer(lambda: answer)


def file(path: Path) -> None:
    """The same, a piece at a time."""

    def pieces() -> Iterator[bytes]:
        with path.open("rb", buffering=0) as opened:
            yield _head(path.stat().st_size)
            while piece := opened.read(PIECE):
                yield piece

    _answer(pieces)


def _head(length: int) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()


def _answer(parts: Callable[[], Iterable[bytes]]) -> None:
    with socket.create_server((HOST, 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            connection, _ = listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection:
                while connection.recv(65536):
                    for part in parts():
                        connection.sendall(part)


async def echo(path: Path) -> None:
    """aiohttp as bare as it comes."""
    body = path.read_bytes()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return web.Response(body=body, headers={"Content-Type": "text/xml"})

    loop = asyncio.get_running_loop()
    server = await loop.create_server(web.Server(handle), HOST, 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class KeptHandler(SimpleXMLRPCRequestHandler):
    """The standard library's, but for connections that are kept."""

    protocol_version = "HTTP/1.1"


class ThreadingServer(ThreadingMixIn, SimpleXMLRPCServer):
    """The standard library's, with a thread for every connection."""

    daemon_threads = True
    request_queue_size = BACKLOG


def stdlib(path: Path) -> None:
    """The same records by the same messages, with a check of the session."""
    answer: Any = xmlrpc.client.loads(path.read_bytes())[0][0]
    records: dict[str, dict[str, Any]] = answer["Value"]

    def get_all_records(session: str) -> dict[str, Any]:
        return {"Status": "Success", "Value": records} if session in sessions else refused

    def get_name_label(session: str, vm: str) -> dict[str, Any]:
        return {"Status": "Success", "Value": records[vm]["name_label"]} if session in sessions else refused

    sessions = {"OpaqueRef:session"}
    refused = {"Status": "Failure", "ErrorDescription": ["SESSION_INVALID"]}
    server: Any = ThreadingServer((HOST, 0), KeptHandler, logRequests=False)
    server.register_function(get_all_records, "VM.get_all_records")
    server.register_function(get_name_label, "VM.get_name_label")
    print(server.server_address[1], flush=True)
    server.serve_forever()


def main() -> None:
    """Run the one that was asked for."""
    kind, path = sys.argv[1], Path(sys.argv[2])
    if kind == "echo":
        uvloop.run(echo(path))
    else:
        {"raw": raw, "file": file, "stdlib": stdlib}[kind](path)


if __name__ == "__main__":
    main()
