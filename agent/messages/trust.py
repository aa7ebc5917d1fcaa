"""Whom the pool trusts: nobody, for the agent calls no other server. Clients that look for a list find an empty one."""

from __future__ import annotations

from collections.abc import Mapping

from agent.call import Call
from agent.classes import Certificate, Host, Pool, Session
from agent.classes.enums import CertificatePurpose
from agent.errors import (
    CertificateDoesNotExist,
    CrlDoesNotExist,
    MessageRemoved,
    NotTrustedCertificate,
    OperationNotAllowed,
    ValueNotSupported,
)
from agent.model.messages import Kind, message
from agent.roles import Role

NOBODY = "the agent calls no other server, and so has nobody to trust"
NO_TELEMETRY = "no telemetry is collected"
ADMIN = Role.POOL_ADMIN


@message(Pool, kind=Kind.READ, has_async=True)
def certificate_list(call: Call) -> tuple[str, ...]:
    """The names of the certificates that the agent trusts other servers by: none."""
    return ()


@message(Pool, kind=Kind.READ, has_async=True)
def certificate_install(call: Call, name: str, cert: str) -> None:
    """Refused with OPERATION_NOT_ALLOWED: the agent calls no other server, and so has nobody to trust."""
    raise OperationNotAllowed(NOBODY)


@message(Pool, kind=Kind.READ, has_async=True)
def install_ca_certificate(call: Call, name: str, cert: str) -> None:
    """Refused with OPERATION_NOT_ALLOWED: the agent calls no other server, and so has nobody to trust."""
    raise OperationNotAllowed(NOBODY)


@message(Pool, kind=Kind.READ, has_async=True)
def certificate_uninstall(call: Call, name: str) -> None:
    """Refused with CERTIFICATE_DOES_NOT_EXIST: there are none."""
    raise CertificateDoesNotExist(name[:200])


@message(Pool, kind=Kind.READ, has_async=True)
def uninstall_ca_certificate(call: Call, name: str, force: bool = False) -> None:
    """Refused with CERTIFICATE_DOES_NOT_EXIST: there are none."""
    raise CertificateDoesNotExist(name[:200])


@message(Pool, kind=Kind.READ, has_async=True)
def certificate_sync(call: Call) -> None:
    """Have all hosts trust the same certificates. There is one host, so nothing is to be done."""


@message(Pool, kind=Kind.READ, has_async=True)
def crl_list(call: Call) -> tuple[str, ...]:
    """The names of the lists of certificates that are revoked: none."""
    return ()


@message(Pool, kind=Kind.READ, has_async=True)
def crl_install(call: Call, name: str, cert: str) -> None:
    """Refused with OPERATION_NOT_ALLOWED: the agent calls no other server, and so has nobody to trust."""
    raise OperationNotAllowed(NOBODY)


@message(Pool, kind=Kind.READ, has_async=True)
def crl_uninstall(call: Call, name: str) -> None:
    """Refused with CRL_DOES_NOT_EXIST: there are none."""
    raise CrlDoesNotExist(name[:200])


@message(Pool, kind=Kind.READ, has_async=True)
def install_trusted_certificate(
    call: Call, self: Pool, ca: bool, cert: str, purpose: tuple[CertificatePurpose, ...]
) -> None:
    """Refused with OPERATION_NOT_ALLOWED: the agent calls no other server, and so has nobody to trust."""
    raise OperationNotAllowed(NOBODY)


@message(Pool, kind=Kind.READ, has_async=True)
def uninstall_trusted_certificate(call: Call, self: Pool, certificate: Certificate) -> None:
    """Refused with NOT_TRUSTED_CERTIFICATE: the certificates that there are, are the host's own."""
    raise NotTrustedCertificate(certificate)


@message(Pool, kind=Kind.READ, has_async=True)
def sync_trusted_certificates_from(
    call: Call, self: Pool, remote_address: str, remote_session: Session, verification_certificate: str, ca: bool
) -> tuple[Certificate, ...]:
    """Refused with OPERATION_NOT_ALLOWED: the agent calls no other server, and so has nobody to trust."""
    raise OperationNotAllowed(NOBODY)


@message(Host, kind=Kind.READ, role=ADMIN, has_async=False)
def emergency_disable_tls_verification(call: Call) -> None:
    """Verify no certificate of other servers. None is called, so nothing is to be done."""


@message(Host, kind=Kind.READ, role=ADMIN, has_async=False)
def emergency_reenable_tls_verification(call: Call) -> None:
    """Refused with OPERATION_NOT_ALLOWED: the agent calls no other server whose certificate it could verify."""
    raise OperationNotAllowed(NOBODY)


# --- what else is told to nobody


@message(Pool, kind=Kind.READ, role=ADMIN, has_async=True)
def reset_telemetry_uuid(call: Call, self: Pool) -> None:
    """Refused with OPERATION_NOT_ALLOWED: no telemetry is collected."""
    raise OperationNotAllowed(NO_TELEMETRY)


@message(Pool, kind=Kind.READ, role=ADMIN, has_async=True)
def add_to_guest_agent_config(call: Call, self: Pool, key: str, value: str) -> None:
    """Refused with VALUE_NOT_SUPPORTED: the agent tells guests nothing."""
    raise ValueNotSupported("guest_agent_config", key[:200], "the agent tells guests nothing")


@message(Pool, kind=Kind.READ, role=ADMIN, has_async=True)
def remove_from_guest_agent_config(call: Call, self: Pool, key: str) -> None:
    """Tell guests no more of this. They are told nothing, so nothing is to be done."""


@message(Pool, kind=Kind.READ, has_async=False)
def test_archive_target(call: Call, self: Pool, config: Mapping[str, str]) -> str:
    """Refused with MESSAGE_REMOVED, as by today's xapi."""
    raise MessageRemoved
