"""The description of a machine in an XVA file, ``ova.xml``: the records of its objects as one XML-RPC value.

The layout is xapi's: ``version`` says who wrote it, ``objects`` has each object's class, an id that stands for its
reference (``Ref:4``) and its record, in which references are such ids. What is not in the file is ``OpaqueRef:NULL``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.errors import ImportFailed
from agent.model import types
from agent.model.entity import Entity
from agent.model.types import Type
from agent.rpc import xmlrpc

NULL = "OpaqueRef:NULL"
LONGEST = 4 * 1024 * 1024
"""Bytes of a description that is read: those of machines with 255 disks have one."""
EXPORT_VERSION = 2
"""xapi's number for a layout with a checksum behind every piece."""
OBJECTS = 10_000
_DECLARATION = re.compile(rb"\s*(<\?xml[^>]{0,200}\?>)?\s*")


@dataclass(frozen=True)
class Described:
    """One object of a description."""

    class_name: str
    id: str
    record: Mapping[str, Any]


def write(entities: Sequence[Entity], instead: Mapping[Entity, Mapping[str, Any]], version: Mapping[str, str]) -> bytes:
    """The description of these objects. `instead` has fields that are to be told otherwise than they are now."""
    ids = {entity: f"Ref:{number}" for number, entity in enumerate(entities)}
    objects = "".join(
        "<value>"
        + _struct(
            {
                "class": f"<value>{xmlrpc.text(entity.wire_name)}</value>",
                "id": f"<value>{ids[entity]}</value>",
                "snapshot": f"<value>{_record(entity, instead.get(entity, {}), ids)}</value>",
            }
        )
        + "</value>"
        for entity in entities
    )
    told = {name: f"<value>{xmlrpc.text(value)}</value>" for name, value in version.items()}
    told |= {name: f"<value><int>{number}</int></value>" for name, number in _NUMBERS.items()}
    whole = {"version": f"<value>{_struct(told)}</value>"}
    whole["objects"] = f"<value><array><data>{objects}</data></array></value>"
    return f"<value>{_struct(whole)}</value>".encode()


_NUMBERS = {"xapi_major": 1, "xapi_minor": 0, "export_vsn": EXPORT_VERSION}
"""xapi refuses a file of a newer interface than its own; there is none older than this."""


def _struct(members: Mapping[str, str]) -> str:
    return (
        "<struct>"
        + "".join(f"<member><name>{name}</name>{value}</member>" for name, value in members.items())
        + "</struct>"
    )


def _record(entity: Entity, instead: Mapping[str, Any], ids: Mapping[Entity, str]) -> str:
    held = {**entity.__dict__, **instead}
    return _struct(
        {name: f"<value>{_value(field.type, held[name], ids)}</value>" for name, field in entity.wire_fields.items()}
    )


def _value(kind: Type, value: Any, ids: Mapping[Entity, str]) -> str:
    if isinstance(kind, types.Ref):
        return ids.get(value, NULL) if value is not None else NULL
    if isinstance(kind, types.Set) and isinstance(kind.of, types.Ref):
        items = "".join(f"<value>{ids[item]}</value>" for item in value if item in ids)
        return f"<array><data>{items}</data></array>"
    if isinstance(kind, types.Map) and (isinstance(kind.key, types.Ref) or isinstance(kind.value, types.Ref)):
        return "<struct></struct>"
    write = xmlrpc.writer(kind).text
    assert write is not None
    return write(value)


def read(text: bytes) -> list[Described]:
    """The objects of a description. IMPORT_ERROR for a text that is none."""
    declaration = _DECLARATION.match(text)
    body = text[declaration.end() :] if declaration else text
    call = b"<methodCall><methodName>x</methodName><params><param>%b</param></params></methodCall>"
    try:
        _, params = xmlrpc.decode_any(call % body)
    except xmlrpc.Malformed as error:
        raise ImportFailed(f"ova.xml cannot be read: {error}") from None
    whole = params[0] if len(params) == 1 else None
    listed = whole.get("objects") if isinstance(whole, Mapping) else None
    if not isinstance(listed, (list, tuple)) or len(listed) > OBJECTS:
        raise ImportFailed("ova.xml has no list of objects, or too many of them")
    found: dict[str, Described] = {}
    for item in listed:
        name, id, record = (item.get(key) if isinstance(item, Mapping) else None for key in ("class", "id", "snapshot"))
        if not isinstance(name, str) or not isinstance(id, str) or not isinstance(record, Mapping):
            raise ImportFailed("ova.xml has an object without class, id or record")
        if id in found:
            raise ImportFailed("ova.xml has two objects of the same id")
        found[id] = Described(name, id, record)
    return list(found.values())
