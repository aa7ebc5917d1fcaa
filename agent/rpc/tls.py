"""TLS of the front door: the context of its listeners. Which sockets use it, ``server`` decides.

The certificate is the admin's, or ``server.pem`` in the state folder. Where that is missing, ``certificate`` makes one
that is signed by itself: clients pin it, or add it to what they trust. One that is replaced is taken for every
handshake from then on; one that cannot be used leaves the old in use. Clients may show a certificate where the admin
names the authority that signs them; then one that it has not signed, or has taken back, ends the handshake.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent import server_certificate
from agent.rpc.certificates import fingerprint, shown

log = logging.getLogger(__name__)

OWN_CERTIFICATE = "server.pem"
NAMES_OF_SAN = ("DNS", "IP Address", "URI", "email")


class Tls:
    """The context of every https listener, with the certificate of the file `path` and the private key of the file
    `key`, or of the same file.
    """

    def __init__(
        self, path: Path, key: Path | None = None, *, make: bool, client_authority: Path | None = None
    ) -> None:
        """`make`: where the file is missing, a certificate is made. `client_authority` signs those of clients.

        OSError if one of them cannot be used.
        """
        if make and not path.exists():
            server_certificate.make(path)
        self.context = _context()
        self.shown = b""
        """The certificate in use."""
        if client_authority is not None:
            _trust(self.context, client_authority)
        self.use(path, key)

    def use(self, path: Path, key: Path | None) -> None:
        """Take this certificate from now on. OSError, and the old one stays, if it cannot be used."""
        stamp = _stamp(path, key)
        _load(_context(), path, key)  # apart: half of a bad pair would stay in the one in use
        _load(self.context, path, key)
        self.path, self.key, self._stamp = path, key, stamp
        before, self.shown = self.shown, shown(path)
        if self.shown != before:
            log.info("https shows the certificate of %s: SHA-256 fingerprint %s", path, fingerprint(self.shown))

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


def _trust(context: ssl.SSLContext, authority: Path) -> None:
    """Let clients show certificates that the authorities in this file have signed, and its lists do not take back."""
    try:
        context.load_verify_locations(authority)
    except ssl.SSLError as error:
        raise OSError(f"{authority} holds no certificate of an authority: {error.reason}") from error
    except OSError as error:
        raise OSError(f"the certificate {authority} cannot be read: {error.strerror}") from error
    context.verify_mode = ssl.CERT_OPTIONAL
    if context.cert_store_stats()["crl"]:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def names_in(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """What a client's verified certificate, as ``getpeercert`` tells it, calls the client: names, addresses and URIs of
    its SAN, and its CN.
    """
    others = [value for kind, value in certificate.get("subjectAltName", ()) if kind in NAMES_OF_SAN]
    common = [value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"]
    return tuple(dict.fromkeys(others + common))


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
