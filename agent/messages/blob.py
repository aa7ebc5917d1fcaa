"""Binary pieces: made alone or for an object, and destroyed. Their bytes come and go by ``agent.http.blobs``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent.call import Call
from agent.classes import SR, VM, Blob, Host, Network, Pool
from agent.classes.blob import MIME_TYPE, media_type
from agent.errors import InvalidValue, MapDuplicateKey, OperationNotAllowed
from agent.model.entity import Entity
from agent.model.messages import Kind, Message, Param, message
from agent.model.types import Bool, Ref, String
from agent.roles import Role
from agent.store.store import Store

BLOBS_MAX = 1000
NAME_MAX = 256
OWNERS: dict[type[Entity], Role] = {
    VM: Role.VM_POWER_ADMIN,
    Host: Role.POOL_OPERATOR,
    SR: Role.POOL_OPERATOR,
    Network: Role.POOL_OPERATOR,
    Pool: Role.POOL_OPERATOR,
}
"""What pieces can be made for, and who may."""


def link(store: Store) -> None:
    """Show the pieces that the journal has with the objects that they were made for. At start."""
    with store.transaction(wait=False):
        for blob in store.all(Blob):
            owner = _owner(blob)
            if owner is not None:
                _show(owner, {**owner.__dict__["blobs"], blob.key: blob})


def _owner(blob: Blob) -> Entity | None:
    return blob.of_VM or blob.of_host or blob.of_SR or blob.of_network or blob.of_pool


def _show(owner: Entity, blobs: dict[str, Entity]) -> None:
    setattr(owner, "blobs", blobs)  # noqa: B010  each of the owners has the field


def _new(call: Call, mime_type: str, public: bool) -> Blob:
    kind = mime_type or MIME_TYPE
    try:
        media_type(kind)
    except ValueError as error:
        raise InvalidValue("mime_type", f"{mime_type[:100]!r}: {error}") from None
    if call.store.count("blob") >= BLOBS_MAX:
        raise OperationNotAllowed(f"there are {BLOBS_MAX} binary pieces: destroy some")
    return Blob(mime_type=kind, public=public)


@message(Blob, kind=Kind.WRITE)
def create(call: Call, mime_type: str, public: bool = False) -> Blob:
    """Make a piece without bytes, of a media type; an empty one is application/octet-stream. INVALID_VALUE."""
    return call.store.add(_new(call, mime_type, public))


@message(Blob, kind=Kind.WRITE)
def destroy(call: Call, self: Blob) -> None:
    """Destroy a piece and its bytes."""
    owner = _owner(self)
    call.store.destroy(self)
    if owner is not None:
        _show(owner, {name: blob for name, blob in owner.__dict__["blobs"].items() if blob is not self})


def _create_new(cls: type[Entity]) -> Callable[..., Blob]:
    def create_new_blob(call: Call, self: Entity, name: str, mime_type: str, public: bool) -> Blob:
        if not 0 < len(name) <= NAME_MAX:
            raise InvalidValue("name", f"it has {len(name)} characters, not 1 to {NAME_MAX}")
        held: dict[str, Any] = self.__dict__["blobs"]
        if name in held:
            raise MapDuplicateKey(cls.wire_name, "blobs", self, name)
        blob = _new(call, mime_type, public)
        blob.name_label = blob.key = name
        setattr(blob, f"of_{cls.wire_name}", self)
        call.store.add(blob)
        _show(self, {**held, name: blob})
        return blob

    return create_new_blob


MESSAGES = tuple(
    Message(
        cls.wire_name,
        "create_new_blob",
        (
            Param(cls.wire_name.lower() if cls is VM else cls.wire_name, Ref(cls.wire_name)),
            Param("name", String()),
            Param("mime_type", String()),
            Param("public", Bool(), False),
        ),
        Ref("blob"),
        Kind.WRITE,
        role,
        _create_new(cls),
        f"Make a binary piece for a {cls.wire_name}, under a name among those in blobs. MAP_DUPLICATE_KEY where "
        "there is one of that name; INVALID_VALUE for a name of none or more than 256 characters, or no media type.",
        has_async=True,
    )
    for cls, role in OWNERS.items()
)
"""``create_new_blob`` of each class that pieces can be made for."""
