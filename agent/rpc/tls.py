"""TLS of the front door: the context of its listeners. Which sockets use it, ``server`` decides.

The certificate is the admin's, or ``server.pem`` in the state folder. Where that is missing, ``certificate`` makes one
that is signed by itself: clients pin it, or add it to what they trust. One that is replaced is taken for every
handshake from then on; one that cannot be used leaves the old in use.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from agent import server_certificate
from agent.rpc.certificates import shown

OWN_CERTIFICATE = "server.pem"


class Tls:
    """The context of every https listener, with the certificate of the file `path` and the private key of the file
    `key`, or of the same file.
    """

    def __init__(self, path: Path, key: Path | None = None, *, make: bool) -> None:
        """`make`: where the file is missing, a certificate is made. OSError if it cannot be used."""
        if make and not path.exists():
            server_certificate.make(path)
        self.context = _context()
        self.use(path, key)

    def use(self, path: Path, key: Path | None) -> None:
        """Take this certificate from now on. OSError, and the old one stays, if it cannot be used."""
        stamp = _stamp(path, key)
        _load(_context(), path, key)  # apart: half of a bad pair would stay in the one in use
        _load(self.context, path, key)
        self.path, self.key, self._stamp = path, key, stamp
        self.shown = shown(path)

    def replaced(self) -> bool:
        """Whether the files were replaced since this was last asked, or since they were taken. From any thread."""
        stamp, before = _stamp(self.path, self.key), self._stamp
        self._stamp = stamp
        return stamp != before


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def _load(context: ssl.SSLContext, path: Path, key: Path | None) -> None:
    try:
        # A key that is locked by a password would have OpenSSL ask for it on a terminal, and wait.
        context.load_cert_chain(path, key, password="")
    except ssl.SSLError as error:
        what = (
            "is no private key followed by its certificate" if key is None else f"and {key} are no certificate and key"
        )
        raise OSError(f"{path} {what}: {error.reason}") from error
    except OSError as error:
        raise OSError(f"the certificate {path} cannot be read: {error.strerror}") from error


def _stamp(path: Path, key: Path | None) -> tuple[tuple[int, int, int] | None, ...]:
    """What changes when a file is replaced."""
    stamps: list[tuple[int, int, int] | None] = []
    for file in (path, key or path):
        try:
            status = file.stat()
        except OSError:
            stamps.append(None)
        else:
            stamps.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(stamps)
