"""Clients that show a certificate, and connections within the host that need no password: a real daemon, real TLS."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.front_door.conftest import Daemon

NOW = datetime.now(UTC)
Key = ec.EllipticCurvePrivateKey


class Authority:
    """Signs certificates of clients, and takes them back."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.key = folder, name, ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._signed(name, self.key.public_key(), [x509.BasicConstraints(True, None)])

    def _signed(self, name: str, key: Any, extensions: list[Any]) -> x509.Certificate:
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        built = x509.CertificateBuilder().issuer_name(issuer).public_key(key)
        built = built.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        built = built.serial_number(x509.random_serial_number())
        built = built.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=1))
        for extension in extensions:
            built = built.add_extension(extension, critical=False)
        return built.sign(self.key, hashes.SHA256())

    def client(self, name: str, *others: str) -> tuple[Path, x509.Certificate]:
        """A client's key and certificate, in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.SubjectAlternativeName([x509.DNSName(other) for other in others])] if others else []
        certificate = self._signed(name, key.public_key(), names)
        file = self.folder / f"{self.name}-{name}.pem"
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        file.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()) + certificate.public_bytes(pem))
        return file, certificate

    def write(self, file: Path, *revoked: x509.Certificate) -> None:
        """What the agent is to trust: the authority, and with `revoked` the list of what it takes back."""
        text = self.certificate.public_bytes(serialization.Encoding.PEM)
        if revoked:
            built = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
            built = built.last_update(NOW - timedelta(hours=1)).next_update(NOW + timedelta(days=1))
            for certificate in revoked:
                entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
                built = built.add_revoked_certificate(entry.revocation_date(NOW - timedelta(hours=1)).build())
            text += built.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        file.write_bytes(text)


def call(daemon: Daemon, method: str, *params: Any, certificate: Path | None = None, host: str = "") -> Any:
    """One call by JSON-RPC; what is in the answer, or the status of a refusal."""
    scheme, _, place = daemon.url.partition("://")
    connection: http.client.HTTPConnection
    if scheme == "https":
        context = ssl.create_default_context(cafile=str(daemon.state / "server.pem"))
        context.check_hostname = False
        if certificate is not None:
            context.load_cert_chain(certificate)
        connection = http.client.HTTPSConnection(place, timeout=30, context=context)
    else:
        connection = http.client.HTTPConnection(place, timeout=30)
    asked = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": 1})
    headers = {"Content-Type": "application/json", **({"Host": host} if host else {})}
    with closing(connection):
        connection.request("POST", "/jsonrpc", asked, headers)
        answer = connection.getresponse()
        body = answer.read()
    return json.loads(body) if answer.status == 200 else answer.status


ENDED = r"(?i)alert|reset|closed|broken|EOF"
"""What a client sees of an ended handshake: the alert, or if the end of the connection was quicker, that."""
LOG_IN = ("session.login_with_password", "", "")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@pytest.fixture
def daemon(tmp_path: Path, authority: Authority) -> Iterator[Daemon]:
    """An agent that knows backup.example.org as a reader, and takes back what is signed for `lost`."""
    configuration = (
        f'[tls]\nclient_authority = "{tmp_path / "ca.pem"}"\n'
        '[auth]\ncertificates = ["backup.example.org = read-only", "lost = pool-admin"]\n'
        "[limits]\nlogin_delay_seconds = 0\n"
    )
    authority.write(tmp_path / "ca.pem", authority.client("lost")[1])
    made = Daemon(tmp_path / "state", listen=("https://127.0.0.1:0",), configuration=configuration)
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize("names", [("backup.example.org",), ("somebody", "backup.example.org")])
def test_who_shows_a_named_certificate_needs_no_password(
    daemon: Daemon, authority: Authority, names: tuple[str, ...]
) -> None:
    """By its CN, or by a name of its SAN."""
    certificate, _ = authority.client(*names)
    session = call(daemon, *LOG_IN, certificate=certificate)["result"]
    assert call(daemon, "VM.get_all", session, certificate=certificate)["result"]
    refused = call(daemon, "network.create", session, {"name_label": "x"}, certificate=certificate)
    assert refused["error"]["message"] == "RBAC_PERMISSION_DENIED"
    assert "user=backup.example.org" in daemon.log


def test_a_certificate_that_is_named_nowhere_opens_nothing(daemon: Daemon, authority: Authority) -> None:
    certificate, _ = authority.client("stranger", "www.example.org")
    assert call(daemon, *LOG_IN, certificate=certificate)["error"]["message"] == "SESSION_AUTHENTICATION_FAILED"
    assert call(daemon, *LOG_IN)["error"]["message"] == "SESSION_AUTHENTICATION_FAILED"


def test_nobody_is_whom_his_certificate_does_not_name(daemon: Daemon, authority: Authority) -> None:
    certificate, _ = authority.client("backup.example.org")
    refused = call(daemon, LOG_IN[0], "lost", "", certificate=certificate)
    assert refused["error"]["message"] == "SESSION_AUTHENTICATION_FAILED"


def test_a_certificate_of_another_authority_ends_the_handshake(daemon: Daemon, tmp_path: Path) -> None:
    forged, _ = Authority(tmp_path, "others").client("backup.example.org")
    with pytest.raises(OSError, match=ENDED):
        call(daemon, *LOG_IN, certificate=forged)


def test_a_certificate_that_was_taken_back_ends_the_handshake(daemon: Daemon, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=ENDED):
        call(daemon, *LOG_IN, certificate=tmp_path / "ours-lost.pem")


def test_without_anybody_asked_a_request_names_this_host(tmp_path: Path) -> None:
    """What a browser of this host sends to a name of the web that was turned to loopback is refused."""
    daemon = Daemon(tmp_path / "state", configuration='[auth]\nmode = "none"\n')
    daemon.start()
    try:
        assert "result" in call(daemon, *LOG_IN)
        for own in ("localhost", "LOCALHOST:8086", "127.0.0.7:1", "[::1]:8086"):
            assert "result" in call(daemon, *LOG_IN, host=own), own
        for foreign in ("evil.example.org", "evil.example.org:8086", "10.0.0.1", "[", "localhost.evil.example.org"):
            assert call(daemon, *LOG_IN, host=foreign) == 421, foreign
    finally:
        daemon.stop()
