"""A xenstored that is not Xen's: the protocol on a Unix socket, over a tree that tests write, hostile on demand."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path

HEADER = struct.Struct("=IIII")
DIRECTORY, READ, WATCH, UNWATCH, EVENT, ERROR, PART = 1, 2, 4, 5, 15, 16, 22
BODY_BYTES = 4096
Node = tuple[str, ...]


def node(path: str) -> Node:
    """A path as a key of the tree; what begins with @ is no path."""
    return (path,) if path.startswith("@") else tuple(part for part in path.split("/") if part)


class FakeXenstored:
    """Serves until it is closed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "xenstored"
        self.tree: dict[Node, bytes] = {}
        self.asked = 0
        """Requests that were answered."""
        self.hung = False
        """It takes requests and answers none."""
        self.garbage: bytes | None = None
        """What it says next, in place of an answer."""
        self.watches: dict[tuple[int, Node, str], socket.socket] = {}
        self._lock = threading.RLock()
        self._connections: list[socket.socket] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End it, as a crash does."""
        self._listening.close()
        self.cut_off()

    def cut_off(self) -> None:
        """End all connections."""
        for connection in tuple(self._connections):  # without the lock: who holds it may be sending to one of them
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
            self.watches.clear()

    # --- the tree

    def write(self, path: str, value: str | bytes = "") -> None:
        """Write as a guest or a tool does; watches ring."""
        with self._lock:
            self.tree[node(path)] = value if isinstance(value, bytes) else value.encode()
        self.ring(path)

    def remove(self, path: str) -> None:
        """Remove a folder with all in it; watches ring."""
        gone = node(path)
        with self._lock:
            self.tree = {key: value for key, value in self.tree.items() if key[: len(gone)] != gone}
        self.ring(path)

    def ring(self, path: str) -> None:
        """Ring the watches of a path and of all folders above it."""
        changed = node(path)
        with self._lock:
            for (_, watched, token), connection in list(self.watches.items()):
                if changed[: len(watched)] == watched:
                    self._send(connection, EVENT, 0, f"{path}\0{token}\0".encode())

    def make_domain(self, domid: int, uuid: str) -> None:
        """A domain that has just been started."""
        self.write(f"/local/domain/{domid}/vm", f"/vm/{uuid}")
        self.ring("@introduceDomain")

    def end_domain(self, domid: int) -> None:
        """The end of one."""
        self.remove(f"/local/domain/{domid}")
        self.ring("@releaseDomain")

    def watched(self, path: str) -> bool:
        """Whether anybody watches this path."""
        with self._lock:
            return any(watched == node(path) for _, watched, _ in self.watches)

    # --- the protocol

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        received = b""
        while True:
            try:
                more = connection.recv(65536)
            except OSError:
                return
            if not more:
                return
            received += more
            while len(received) >= HEADER.size:
                kind, number, _, length = HEADER.unpack_from(received)
                if len(received) < HEADER.size + length:
                    break
                body, received = received[HEADER.size : HEADER.size + length], received[HEADER.size + length :]
                while self.hung:
                    time.sleep(0.01)
                with self._lock:
                    self.asked += 1
                    self._answer(connection, kind, number, body.decode().split("\0"))

    def _answer(self, connection: socket.socket, kind: int, number: int, words: list[str]) -> None:
        if self.garbage is not None:
            said, self.garbage = self.garbage, None
            connection.sendall(said)
            return
        path = node(words[0])
        names = sorted({key[len(path)] for key in self.tree if len(key) > len(path) and key[: len(path)] == path})
        listed = b"".join(name.encode() + b"\0" for name in names)
        match kind:
            case _ if kind == READ and path in self.tree:
                self._send(connection, kind, number, self.tree[path][:BODY_BYTES])
            case _ if kind == DIRECTORY and len(listed) > BODY_BYTES:
                self._send(connection, ERROR, number, b"E2BIG\0")
            case _ if kind == DIRECTORY and (listed or path in self.tree):
                self._send(connection, kind, number, listed)
            case _ if kind == PART:
                self._send(connection, kind, number, self._part(listed, int(words[1])))
            case _ if kind == WATCH:
                self.watches[connection.fileno(), path, words[1]] = connection
                self._send(connection, kind, number, b"OK\0")
                self._send(connection, EVENT, 0, f"{words[0]}\0{words[1]}\0".encode())
            case _ if kind == UNWATCH and self._forget((connection.fileno(), path, words[1])):
                self._send(connection, kind, number, b"OK\0")
            case _:
                self._send(connection, ERROR, number, b"ENOENT\0")

    def _forget(self, watch: tuple[int, Node, str]) -> bool:
        """Whether there was such a watch; there is no more."""
        return self.watches.pop(watch, None) is not None

    @staticmethod
    def _part(listed: bytes, offset: int) -> bytes:
        """A version of the folder, then as many whole names as fit; after the last an empty one."""
        part = b"7\0"
        for name in listed[offset:].split(b"\0")[:-1]:
            if len(part) + len(name) + 1 > BODY_BYTES:
                return part
            part += name + b"\0"
        return part + b"\0"

    @staticmethod
    def _send(connection: socket.socket, kind: int, number: int, body: bytes) -> None:
        with suppress(OSError):  # the client has gone
            connection.sendall(HEADER.pack(kind, number, 0, len(body)) + body)
