"""The certificate that the https listeners show, as an object of the class Certificate.

It is read with what Python has: the library that makes certificates would cost every start a tenth of it.
"""

from __future__ import annotations

import hashlib
import ssl
import uuid as uuids
from datetime import UTC, datetime
from pathlib import Path

from agent.classes import Certificate, Host
from agent.store.store import Store

NAMES = uuids.UUID("c40b8b51-8d0b-4a8d-8b7b-51b7f0a5d1e4")
"""Where the uuids of certificates come from, so that one is the same after a restart."""
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
SEQUENCE, EXPLICIT_0, UTC_TIME, GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
"""Tags of X.509's encoding (RFC 5280)."""


def shown(path: Path) -> bytes:
    """The first certificate of a PEM file, which is the one that a listener shows. ValueError if there is none."""
    text = path.read_text("ascii", "replace")
    begin = text.index(BEGIN)
    return ssl.PEM_cert_to_DER_cert(text[begin : text.index(END, begin)] + END + "\n")


def validity(certificate: bytes) -> tuple[datetime, datetime]:
    """When a certificate begins and ends to be valid. ValueError for what is no certificate."""
    body = _element(_element(certificate)[1])[1]
    tag, _, rest = _element(body)
    if tag == EXPLICIT_0:  # the version, which old ones have not; then comes the serial number
        rest = _element(rest)[2]
    for _ in range(2):  # the algorithm and the issuer
        rest = _element(rest)[2]
    tag, times, _ = _element(rest)
    if tag != SEQUENCE:
        raise ValueError("a certificate has its times in another place")
    kind, begin, rest = _element(times)
    return _time(kind, begin), _time(*_element(rest)[:2])


def note(store: Store, host: Host, certificate: bytes | None) -> None:
    """Make the objects what the listeners show: this certificate, or none."""
    sha256 = "" if certificate is None else fingerprint(certificate)
    known = store.all(Certificate)
    if [each.fingerprint for each in known] == ([sha256] if sha256 else []):
        return
    with store.transaction(wait=False):
        for each in known:
            store.destroy(each)
        if certificate is None:
            return
        begin, end = validity(certificate)
        made = Certificate(
            host=host,
            not_before=begin,
            not_after=end,
            fingerprint=sha256,
            fingerprint_sha256=sha256,
            fingerprint_sha1=fingerprint(certificate, "sha1"),
        )
        made.uuid = str(uuids.uuid5(NAMES, sha256))
        store.add(made, volatile=True)


def fingerprint(certificate: bytes, algorithm: str = "sha256") -> str:
    """The fingerprint of a certificate, as openssl and browsers show it."""
    return hashlib.new(algorithm, certificate, usedforsecurity=False).digest().hex(":").upper()


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag and content of the first element, and what follows it."""
    if len(data) < 2:
        raise ValueError("a certificate ends too early")
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise ValueError("a certificate ends too early")
    return tag, data[start : start + length], data[start + length :]


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii", "replace")
    if tag == UTC_TIME:  # years of two digits, from 1950 to 2049
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != GENERALIZED_TIME:
        raise ValueError("a certificate has times of another kind")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
