"""The class blob. The bytes themselves are files, which ``agent.http.blobs`` keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from agent.classes import checks
from agent.model.entity import Entity, constructor, internal, readwrite, runtime
from agent.model.types import EPOCH, Map, Ref, String
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m

Blobs = Annotated[Mapping[str, Entity], Map(String(), Ref("blob", nullable=True))]
"""Binary pieces that clients keep with an object, by name."""
MIME_TYPE = "application/octet-stream"
_MIME_TYPE = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,64}", re.ASCII)


def media_type(value: str) -> None:
    """A type and a subtype, as in text/plain."""
    if _MIME_TYPE.fullmatch(value) is None:
        raise ValueError("it is no media type such as text/plain")


class Blob(Entity, name="blob", role=Role.POOL_OPERATOR):
    """A binary piece that clients keep with the agent, 16 MiB at the most, sent and fetched at ``/blob?ref=``.

    One that was made for an object goes when that is destroyed.
    """

    uuid: str = runtime("permanent name of this piece")
    name_label: str = readwrite("name of the piece", default="", check=checks.modest)
    name_description: str = readwrite("what it is, for people", default="", check=checks.modest)
    size: int = runtime("bytes that it has", default=0, kept=True)
    public: bool = readwrite("can it be fetched by anybody, without logging in", default=False)
    last_updated: datetime = constructor("when its bytes were last sent", default=EPOCH)
    mime_type: str = constructor("media type of the bytes", default=MIME_TYPE, check=media_type)
    content: str = internal("name of the file that has the bytes", default="")
    key: str = internal("its name among the pieces of the object that it was made for", default="")
    of_VM: m.VM | None = internal("machine that it was made for", default=None, part=True)
    of_host: m.Host | None = internal("host that it was made for", default=None, part=True)
    of_SR: m.SR | None = internal("storage that it was made for", default=None, part=True)
    of_network: m.Network | None = internal("network that it was made for", default=None, part=True)
    of_pool: m.Pool | None = internal("pool that it was made for", default=None, part=True)
