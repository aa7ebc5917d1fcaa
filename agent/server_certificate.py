"""The file of the front door's certificate, as messages read and replace it. That listeners take a replaced one, is the
business of ``agent.rpc.tls``.
"""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agent.errors import (
    OperationNotAllowed,
    ServerCertificateChainInvalid,
    ServerCertificateInvalid,
    ServerCertificateKeyInvalid,
    ServerCertificateKeyMismatch,
)

MAKING_SECONDS = 60.0
_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----\n.*?\n-----END CERTIFICATE-----\n?", re.DOTALL)
_KEY = re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\n.*?\n-----END (?:[A-Z]+ )?PRIVATE KEY-----\n?", re.DOTALL)


def make(path: Path) -> None:
    """Write a fresh key and a certificate that is signed by itself to a file. OSError if that cannot be done."""
    command = [sys.executable, "-m", "agent.rpc.certificate", str(path)]
    # An installed agent's folder is not one where Python looks by itself.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=MAKING_SECONDS, env=environment)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().splitlines()[-1:] or ["no reason was given"]
        raise OSError(f"no certificate can be made at {path}: {reason[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise OSError(f"no certificate can be made at {path}: it took too long") from error


@dataclass(frozen=True)
class ServerCertificate:
    """One file, of a private key and its certificate."""

    path: Path | None = None
    own: bool = True
    """Whether it is the agent's own, which it may replace, and none that the configuration names."""

    def read(self) -> str:
        """The certificate as PEM, without what it is signed by. OPERATION_NOT_ALLOWED where there is none."""
        try:
            text = "" if self.path is None else self.path.read_text("ascii")
        except (OSError, UnicodeDecodeError):
            text = ""
        found = _CERTIFICATE.search(text)
        if found is None:
            raise OperationNotAllowed("the agent has no certificate: it listens on no https address")
        return found[0]

    def install(self, certificate: str, key: str, chain: str) -> None:
        """Replace key and certificate, in one step. SERVER_CERTIFICATE_INVALID, SERVER_CERTIFICATE_KEY_INVALID,
        SERVER_CERTIFICATE_CHAIN_INVALID, SERVER_CERTIFICATE_KEY_MISMATCH.
        """
        certificate, key, chain = (text.replace("\r\n", "\n").strip() + "\n" for text in (certificate, key, chain))
        if not _CERTIFICATE.fullmatch(certificate) or not _is_certificate(certificate):
            raise ServerCertificateInvalid
        if not _KEY.fullmatch(key):
            raise ServerCertificateKeyInvalid
        if chain.strip() and (_CERTIFICATE.sub("", chain).strip() or not _is_certificate(chain)):
            raise ServerCertificateChainInvalid
        with self._replacing() as new:
            new.write_text(key + certificate + chain.lstrip(), "ascii")
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(new, password="")
            except ssl.SSLError as error:
                if error.reason == "KEY_VALUES_MISMATCH":
                    raise ServerCertificateKeyMismatch from None
                raise ServerCertificateKeyInvalid from None

    def reset(self) -> None:
        """Replace it by a fresh one that is signed by itself."""
        with self._replacing() as new:
            make(new)

    @contextmanager
    def _replacing(self) -> Iterator[Path]:
        """A file beside it, which takes its place in the end, durably."""
        if self.path is None or not self.own:
            raise OperationNotAllowed("the files of the certificate are those that the agent's configuration names")
        try:
            with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".certificate") as folder:
                new = Path(folder) / "new.pem"
                yield new
                new.chmod(0o600)
                with new.open("rb") as file:
                    os.fsync(file.fileno())
                new.replace(self.path)
        except OSError as error:
            raise OperationNotAllowed(f"the certificate cannot be replaced: {error}") from error


def _is_certificate(text: str) -> bool:
    """Whether it has certificates that can be read."""
    with suppress(ssl.SSLError, ValueError):
        ssl.create_default_context(cadata=text)
        return text.isascii()
    return False
