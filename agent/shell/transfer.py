"""Disks and machines between files and the agent, and the terminal of a machine: what goes over plain HTTP."""

from __future__ import annotations

import http.client
import os
import select
import socket
import sys
import termios
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlencode

from agent.client import Failure, Unreachable
from agent.shell import tasks
from agent.shell.asked import Misused
from agent.shell.sitting import Failed, Sitting, note

CHUNK = 2**20
LEAVE = b"\x1d"
"""Ctrl-], as in telnet and virsh."""


def fetch(sitting: Sitting, path: str, query: Mapping[str, str], filename: str, *, sparse: bool = False) -> None:
    """Write what is at a path into a new file, or to standard output. Failed where the file is there.

    The file has its name only once all of it is there; with `sparse`, zeroes become holes.
    """
    if filename == "-":
        _fetch(sitting, path, query, sys.stdout.buffer, sparse=False)
        sys.stdout.buffer.flush()
        return
    wanted = Path(filename)
    if wanted.exists():
        raise Failed(f"{filename} exists already")
    partial = wanted.with_name(f"{wanted.name}.part")
    try:
        with partial.open("xb") as file:
            try:
                _fetch(sitting, path, query, file, sparse=sparse)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        partial.rename(wanted)
    except OSError as error:
        raise Failed(f"{error.filename or filename}: {error.strerror}") from error


def _fetch(sitting: Sitting, path: str, query: Mapping[str, str], file: BinaryIO, *, sparse: bool) -> None:
    progress = tasks.Progress(sitting.title)
    try:
        with _lent(sitting) as task:
            _receive(
                _request(sitting, "GET", path, {**query, "task_id": task}, None, {}), file, progress, sparse=sparse
            )
    finally:
        progress.clear()


@contextmanager
def _lent(sitting: Sitting) -> Iterator[str]:
    """A task of our own that a transfer runs as; it is dropped after."""
    task: str = sitting.objects.send("task.create", f"xen-host-agent {sitting.title}", "")
    try:
        yield task
    finally:
        with suppress(Failure, Unreachable):
            sitting.objects.send("task.destroy", task)


def _receive(response: http.client.HTTPResponse, file: BinaryIO, progress: tasks.Progress, *, sparse: bool) -> None:
    whole, done = response.length, 0
    try:
        while part := response.read(CHUNK):
            done += len(part)
            if sparse and not part.strip(b"\0"):
                file.seek(len(part), os.SEEK_CUR)
            else:
                file.write(part)
            progress.show(done / whole if whole else 0.0)
        if sparse:
            file.truncate(done)
    except http.client.HTTPException as error:
        raise Failed(f"the agent ended the transfer early: {error}") from error
    if whole and done < whole:
        raise Failed(f"the agent ended the transfer after {done} of {whole} bytes")


def send(sitting: Sitting, path: str, query: Mapping[str, str], filename: str) -> Any:
    """Send a file, or standard input, to a path. Returns what the agent made of it."""
    if filename != "-" and not Path(filename).is_file():
        raise Misused(f"there is no file {filename}")
    progress = tasks.Progress(sitting.title)
    try:
        with _lent(sitting) as task, sys.stdin.buffer if filename == "-" else Path(filename).open("rb") as file:
            size = None if filename == "-" else os.fstat(file.fileno()).st_size
            headers = {"Transfer-Encoding": "chunked"} if size is None else {"Content-Length": str(size)}
            _request(sitting, "PUT", path, {**query, "task_id": task}, _parts(file, size, progress), headers).read()
            return tasks.outcome(sitting.objects.send("task.get_record", task))
    except OSError as error:
        raise Failed(f"{filename}: {error.strerror}") from error
    finally:
        progress.clear()


def _parts(file: BinaryIO, size: int | None, progress: tasks.Progress) -> Iterator[bytes]:
    done = 0
    while part := file.read(CHUNK):
        yield part
        done += len(part)
        progress.show(done / size if size else 0.0)


def _request(
    sitting: Sitting, method: str, path: str, query: Mapping[str, str], body: Any, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    """The answer to a request of its own, if it is a good one. Failed with the agent's reason, or Unreachable."""
    connection = sitting.agent.connection()
    cookie = {"Cookie": f"session_id={sitting.agent.session}"}
    try:
        connection.connect()
        connected: socket.socket | None = connection.sock
        if connected is not None:
            connected.settimeout(None)
        refused: OSError | None = None
        try:
            chunked = "Transfer-Encoding" in headers
            connection.request(
                method, f"{path}?{urlencode(query)}", body, {**cookie, **headers}, encode_chunked=chunked
            )
        except (BrokenPipeError, ConnectionResetError) as error:
            refused = error  # the agent has answered before it had everything: it says why
        response = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        raise Unreachable(f"{sitting.agent.url}: {reason}") from error
    if response.status not in (200, 206):
        text = response.read(4096).decode("utf-8", "replace").strip()
        code, _, rest = text.partition(" ")
        if code.isupper() and code.isascii():
            known = sitting.words.error(code)
            raise Failure(code, rest.split(" ", max(0, len(known.params) - 1) if known is not None else 0))
        raise Failed(f"the agent answers {response.status} {response.reason}: {text}")
    if refused is not None:
        raise Unreachable(f"{sitting.agent.url}: {refused.strerror}")
    return response


# --- the terminal of a machine


def terminal(sitting: Sitting, path: str) -> None:
    """Join this terminal, or standard input and output, to what is at a path, until Ctrl-] or its end."""
    connection = sitting.agent.connection()
    try:
        connection.connect()
        joined = connection.sock
        joined.settimeout(None)
        secret = sitting.agent.session
        joined.sendall(f"CONNECT {path}&session_id={secret} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        head, rest = _head(joined)
    except OSError as error:
        raise Unreachable(f"{sitting.agent.url}: {error.strerror or error}") from error
    status = head.split(None, 2)
    if len(status) < 2 or status[1] != "200":
        raise Failed(
            f"the agent answers {head.splitlines()[0] if head else 'nothing'}: {rest.decode(errors='replace')}"
        )
    if sys.stdin.isatty():
        note("Connected; Ctrl-] leaves.")
        before = termios.tcgetattr(sys.stdin)
        tty.setraw(sys.stdin)
        try:
            _relay(joined, rest)
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
            note("")
    else:
        _relay(joined, rest)
    connection.close()


def _head(joined: socket.socket) -> tuple[str, bytes]:
    """The head of an answer, and what came after it."""
    got = b""
    while b"\r\n\r\n" not in got and len(got) < 65536:
        part = joined.recv(4096)
        if not part:
            break
        got += part
    head, _, rest = got.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _relay(joined: socket.socket, first: bytes) -> None:
    out, keys = sys.stdout.buffer, sys.stdin.fileno()
    out.write(first)
    out.flush()
    sources: list[Any] = [joined, keys]
    while joined in sources:
        for source in select.select(sources, [], [])[0]:
            data = joined.recv(CHUNK) if source is joined else os.read(keys, CHUNK)
            if source is joined:
                if not data:
                    return
                out.write(data)
                out.flush()
            elif not data:
                sources.remove(keys)
                joined.shutdown(socket.SHUT_WR)
            elif LEAVE in data and sys.stdin.isatty():
                joined.sendall(data.partition(LEAVE)[0])
                return
            else:
                joined.sendall(data)
