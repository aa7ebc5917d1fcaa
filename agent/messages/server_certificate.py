"""The certificate that clients see of the host, where it listens with TLS."""

from __future__ import annotations

from agent.call import Call
from agent.classes import Host
from agent.model.messages import Kind, message
from agent.roles import Role

ADMIN = Role.POOL_ADMIN


@message(Host, kind=Kind.BESIDE, role=Role.READ_ONLY)
def get_server_certificate(call: Call, host: Host) -> str:
    """The certificate as PEM. OPERATION_NOT_ALLOWED where the agent has none, since it listens on no https address."""
    return call.site.certificate.read()


@message(Host, kind=Kind.BESIDE, role=ADMIN)
def install_server_certificate(
    call: Call, host: Host, certificate: str, private_key: str, certificate_chain: str = ""
) -> None:
    """Replace the certificate and its private key, all PEM; new connections see it some seconds later.

    SERVER_CERTIFICATE_INVALID, SERVER_CERTIFICATE_KEY_INVALID, SERVER_CERTIFICATE_KEY_MISMATCH,
    SERVER_CERTIFICATE_CHAIN_INVALID; OPERATION_NOT_ALLOWED where the configuration names the files.
    """
    call.site.certificate.install(certificate, private_key, certificate_chain)


@message(Host, kind=Kind.BESIDE, role=ADMIN)
def reset_server_certificate(call: Call, host: Host) -> None:
    """Replace the certificate by a fresh one, which is signed by itself. Clients that pinned the old one, or one that
    was installed, do not take it.
    """
    call.site.certificate.reset()


@message(Host, kind=Kind.BESIDE, role=ADMIN)
def refresh_server_certificate(call: Call, host: Host) -> None:
    """Replace the certificate by a fresh one, which is signed by itself, as reset_server_certificate does."""
    call.site.certificate.reset()


@message(Host, kind=Kind.BESIDE, role=ADMIN, has_async=False)
def emergency_reset_server_certificate(call: Call) -> None:
    """Replace the certificate by a fresh one, which is signed by itself, as reset_server_certificate does."""
    call.site.certificate.reset()
