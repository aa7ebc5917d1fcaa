"""Where the front door listens: sockets from the URLs of the configuration. What they speak, ``server`` decides."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
SOCKET_MODE = 0o660
"""Whoever may open a Unix socket is a client: its owner and group."""
# A client whose machine vanished is noticed after 60 + 4 x 15 seconds, for it will never send a FIN.
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound socket and the URL by which it is reached."""

    socket: socket.socket
    url: str

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken on it."""
        return self.url.startswith("https:")

    def remove(self) -> None:
        """Take away the file of a Unix socket."""
        if self.url.startswith("unix:"):
            Path(self.url.removeprefix("unix:")).unlink(missing_ok=True)


async def bind(url: str) -> list[Listener]:
    """Bind ``http://HOST:PORT``, ``https://HOST:PORT`` or ``unix:PATH``; a name may have several addresses.

    Port 0 takes a free one. OSError, naming the URL and what is wrong, if that cannot be.
    """
    try:
        if url.startswith("unix:"):
            return [_bind_unix(url)]
        return await _bind_tcp(url)
    except (OSError, UnicodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise OSError(f"cannot listen on {url}: {reason}") from error


async def _bind_tcp(url: str) -> list[Listener]:
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError("it is none of http://HOST:PORT, https://HOST:PORT and unix:PATH")
    port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    listeners: list[Listener] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            bound = socket.socket(family, socket.SOCK_STREAM)
            listeners.append(Listener(bound, ""))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEPALIVE:
                bound.setsockopt(socket.IPPROTO_TCP, option, value)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind(address)
            host, chosen = bound.getsockname()[:2]
            shown = f"[{host}]" if family == socket.AF_INET6 else host
            listeners[-1] = Listener(bound, f"{parts.scheme}://{shown}:{chosen}")
    except OSError:
        for listener in listeners:
            listener.socket.close()
        raise
    return listeners


def _bind_unix(url: str) -> Listener:
    path = Path(url.removeprefix("unix:"))
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    _remove_stale(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Linux gives the file the mode of the socket, less the umask: nobody gets in before the chmod.
        os.fchmod(bound.fileno(), SOCKET_MODE)
        bound.bind(str(path))
        path.chmod(SOCKET_MODE)
    except OSError:
        bound.close()
        raise
    return Listener(bound, url)


def _remove_stale(path: Path) -> None:
    """Remove the socket of an agent that is gone. OSError if somebody listens on it, or if it is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is something else than a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1.0)
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except TimeoutError:  # it listens, and is too busy to answer
            pass
    raise OSError(errno.EADDRINUSE, "another process listens there")
