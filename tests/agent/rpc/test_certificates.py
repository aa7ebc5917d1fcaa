"""The certificate of the listeners as an object: what Python's own reading of it says is what a library says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.classes import Host
from agent.rpc import certificates
from agent.rpc.certificate import make
from agent.rpc.tls import Tls
from agent.store.store import Store


@pytest.fixture
def host(store: Store) -> Host:
    with store.transaction():
        return store.add(Host(name_label="here"))


def of(begin: datetime, end: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(2**150).not_valid_before(begin).not_valid_after(end)
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_the_object_says_what_the_certificate_says(store: Store, host: Host, tmp_path: Path) -> None:
    tls = Tls(tmp_path / "server.pem", make=True)
    read = x509.load_pem_x509_certificate((tmp_path / "server.pem").read_bytes())
    certificates.note(store, host, tls.shown)
    [made] = host.certificates
    assert made.not_before == read.not_valid_before_utc
    assert made.not_after == read.not_valid_after_utc
    assert made.fingerprint == made.fingerprint_sha256 == read.fingerprint(hashes.SHA256()).hex(":").upper()
    assert made.fingerprint_sha1 == read.fingerprint(hashes.SHA1()).hex(":").upper()
    assert (made.name, made.type, made.host, made.purpose) == ("", "host", host, ())


@pytest.mark.parametrize("years", [(1955, 1999), (2000, 2049), (2049, 2050), (2050, 9999)])
def test_times_of_both_kinds_are_read(years: tuple[int, int]) -> None:
    begin, end = (datetime(year, 12, 31, 23, 59, 58, tzinfo=UTC) for year in years)
    assert certificates.validity(of(begin, end)) == (begin, end)


def test_one_that_is_replaced_is_another_object(store: Store, host: Host, tmp_path: Path) -> None:
    path = tmp_path / "server.pem"
    tls = Tls(path, make=True)
    certificates.note(store, host, tls.shown)
    [old] = host.certificates
    certificates.note(store, host, tls.shown)
    assert list(host.certificates) == [old]
    make(path)
    tls.use(path, None)
    certificates.note(store, host, tls.shown)
    [new] = host.certificates
    assert new.uuid != old.uuid
    certificates.note(store, host, None)
    assert list(host.certificates) == []


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x82\x01", b"\x30\x02\x05\x00", b"\x30\x00"])
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="certificate"):
        certificates.validity(data)
