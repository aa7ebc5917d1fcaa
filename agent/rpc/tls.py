"""TLS of the front door: the context of its listeners. Which sockets use it, ``server`` decides.

Key and certificate are one file in the state folder, ``server.pem``, which an admin may replace by their own. Where
there is none, ``certificate`` makes one that is signed by itself: clients pin it, or add it to what they trust.
"""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

FILE_NAME = "server.pem"
MAKING_SECONDS = 60.0


def server_context(state: Path) -> ssl.SSLContext:
    """The context of every https listener. Makes the certificate where there is none; OSError if it cannot be used."""
    path = state / FILE_NAME
    if not path.exists():
        _make(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(path)
    except ssl.SSLError as error:
        raise OSError(f"{path} is no private key followed by its certificate: {error.reason}") from error
    return context


def _make(path: Path) -> None:
    command = [sys.executable, "-m", "agent.rpc.certificate", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=MAKING_SECONDS)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().splitlines()[-1:] or ["no reason was given"]
        raise OSError(f"no certificate can be made at {path}: {reason[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise OSError(f"no certificate can be made at {path}: it took too long") from error
