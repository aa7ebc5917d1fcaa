"""Where the front door listens: sockets from the URLs of the configuration, and those that the service manager holds
open for us while we are away. What they speak, ``server`` decides.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Sequence
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
    passed: bool = False
    """Whether the service manager made it, and keeps it when we are gone."""

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken on it."""
        return self.url.startswith("https:")

    def remove(self) -> None:
        """Take away the file of a Unix socket that is ours."""
        if self.url.startswith("unix:") and not self.passed:
            Path(self.url.removeprefix("unix:")).unlink(missing_ok=True)


class Passed:
    """Sockets that the service manager listens on for us, each taken once."""

    def __init__(self, sockets: Sequence[tuple[socket.socket, str]]) -> None:
        """The sockets, with the names that their units give them. OSError if one cannot be served."""
        self._sockets = {_place(sock): (sock, name) for sock, name in sockets}

    def take(self, family: int, place: str, port: int) -> socket.socket | None:
        """The one that listens at this path, or at this address and port, or at all addresses of the port."""
        places = [(family, place, port), (socket.AF_INET6, "::", port)]
        for key in places[: 1 if family == socket.AF_UNIX else 2]:
            sock, _ = self._sockets.get(key, (None, ""))
            # One on [::] has the IPv4 clients too, unless it was told not to.
            if sock is not None and (key[0] == family or not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)):
                del self._sockets[key]
                return sock
        return None

    def rest(self) -> list[Listener]:
        """Those that no URL of the configuration names. What TCP ones speak, their name says by its beginning, ``http``
        or ``https``; without one it is http on loopback and https elsewhere.
        """
        found = []
        for (family, place, _), (sock, name) in self._sockets.items():
            if family == socket.AF_UNIX:
                found.append(Listener(sock, f"unix:{place}", passed=True))
                continue
            local = ipaddress.ip_address(place.partition("%")[0]).is_loopback
            scheme = next((word for word in ("https", "http") if name.startswith(word)), "http" if local else "https")
            found.append(Listener(_kept_alive(sock), _url(scheme, sock), passed=True))
        self._sockets.clear()
        return found


async def bind(url: str, passed: Passed | None = None) -> list[Listener]:
    """Bind ``http://HOST:PORT``, ``https://HOST:PORT`` or ``unix:PATH``; a name may have several addresses.

    Port 0 takes a free one. What was passed is taken instead. OSError, naming the URL and what is wrong, if that cannot
    be.
    """
    passed = passed or Passed(())
    try:
        if url.startswith("unix:"):
            taken = passed.take(socket.AF_UNIX, url.removeprefix("unix:"), 0)
            return [Listener(taken, url, passed=True) if taken is not None else _bind_unix(url)]
        return await _bind_tcp(url, passed)
    except (OSError, UnicodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise OSError(f"cannot listen on {url}: {reason}") from error


async def _bind_tcp(url: str, passed: Passed) -> list[Listener]:
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError("it is none of http://HOST:PORT, https://HOST:PORT and unix:PATH")
    port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    listeners: list[Listener] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            taken = passed.take(family, str(address[0]), port)
            if taken is not None:
                listeners.append(Listener(_kept_alive(taken), _url(parts.scheme, taken), passed=True))
                continue
            bound = socket.socket(family, socket.SOCK_STREAM)
            listeners.append(Listener(bound, ""))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind(address)
            listeners[-1] = Listener(_kept_alive(bound), _url(parts.scheme, bound))
    except OSError:
        for listener in listeners:
            listener.socket.close()
        raise
    return listeners


def _kept_alive(listening: socket.socket) -> socket.socket:
    """The same socket, whose connections will notice that the other end vanished."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        listening.setsockopt(socket.IPPROTO_TCP, option, value)
    return listening


def _url(scheme: str, listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if listening.family == socket.AF_INET6 else f"{scheme}://{host}:{port}"


def _place(passed: socket.socket) -> tuple[int, str, int]:
    """Family, address or path, and port of a socket that was passed. OSError if it is none that clients connect to."""
    try:
        listens = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    except OSError:  # of a kind that never listens
        listens = False
    if passed.type != socket.SOCK_STREAM or not listens:
        raise OSError("the service manager passed a socket that listens for no stream connections")
    address = passed.getsockname()
    if passed.family == socket.AF_UNIX:
        return passed.family, os.fsdecode(address), 0
    if passed.family not in (socket.AF_INET, socket.AF_INET6):
        raise OSError(f"the service manager passed a socket of the family {passed.family}, which is not served")
    return passed.family, str(address[0]), int(address[1])


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
