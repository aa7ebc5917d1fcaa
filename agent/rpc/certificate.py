"""Makes the self-signed certificate of a first start: ``python -m agent.rpc.certificate FILE``.

A process of its own, so that an agent that has its certificate does not pay for the libraries that make one (a tenth of
its start). Which file that is, and which sockets use it, ``tls`` and ``server`` decide. RSA with 2048 bits, since some
of today's clients offer nothing else below TLS 1.3, and 4096 bits would cost 4 ms of every handshake.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
import struct
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEY_BITS = 2048
VALID_DAYS = 3650
_SIOCGIFADDR = 0x8915
_COMMON_NAME_MAX = 64

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def make(path: Path) -> None:
    """Write a fresh key and certificate for this host to `path`. OSError if it cannot be written."""
    _write_private(path, self_signed(_host_names(), _addresses()))


def self_signed(names: list[str], addresses: list[Address]) -> bytes:
    """A fresh key and its certificate for these names and addresses, as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:_COMMON_NAME_MAX])])
    alternatives = [*(x509.DNSName(name) for name in names), *(x509.IPAddress(address) for address in addresses)]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # a host whose clock is set after its first start
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, all of it or none."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _host_names() -> list[str]:
    """Names of this host, fit for a certificate; ``localhost`` last."""
    names = [
        name for name in (socket.gethostname(), socket.getfqdn()) if name.isascii() and "." not in name[:1] and name
    ]
    return list(dict.fromkeys([*names, "localhost"]))


def _addresses() -> list[Address]:
    """Addresses of this host's interfaces as the kernel tells them."""
    found: list[Address] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:  # an interface without an address
                continue
            found.append(ipaddress.IPv4Address(answer[20:24]))
    try:
        lines = Path("/proc/net/if_inet6").read_text("ascii").splitlines()
    except OSError:  # a kernel without IPv6
        lines = []
    found += [ipaddress.IPv6Address(bytes.fromhex(line.split()[0])) for line in lines]
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
