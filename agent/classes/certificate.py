"""The class Certificate: what the agent's https listeners show. ``agent.rpc.certificates`` makes it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from agent.classes.enums import CertificatePurpose, CertificateType
from agent.model.entity import Entity, constructor, runtime
from agent.model.types import EPOCH
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class Certificate(Entity, role=Role.POOL_OPERATOR):
    """The TLS certificate by which clients know this host. There is none where the agent listens on no https address.

    A fingerprint is in hexadecimal digits, two and two, with colons between them.
    """

    uuid: str = runtime("permanent name of this certificate, which follows from its fingerprint")
    name: str = runtime("always empty, as that of every host's own certificate", default="")
    type: CertificateType = runtime("always host: it is the one that this host shows", default=CertificateType.HOST)
    host: m.Host = constructor("host that shows it", bound="certificates", part=True)
    not_before: datetime = constructor("when it begins to be valid", default=EPOCH)
    not_after: datetime = constructor("until when it is valid", default=EPOCH)
    fingerprint: str = constructor("the fingerprint by SHA-256", default="")
    fingerprint_sha256: str = constructor("the fingerprint by SHA-256", default="")
    fingerprint_sha1: str = constructor("the fingerprint by SHA-1", default="")
    purpose: tuple[CertificatePurpose, ...] = constructor("always empty: it is for the host itself", default=())
