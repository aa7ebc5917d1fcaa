"""Classes of features that a plain single host has not: patches, other sites, clusters, streamed disks, xapi's limits.

They are there so that every client of xapi finds them: no object is ever one of them, so that all reads are empty and
every reference is HANDLE_INVALID, and what would make one is refused as xapi refuses it where the feature is absent.
One table says all of it; ``agent.messages.absent`` makes its verbs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import new_class
from typing import Annotated, Any, cast

from agent.classes.absent_table import TABLE, WORDS, Absent
from agent.model.entity import Entity, Field, runtime
from agent.model.notation import fields_of
from agent.model.types import WireEnum


def _enum(name: str, words: Sequence[str]) -> type[WireEnum]:
    def fill(members: dict[str, Any]) -> None:
        members["__doc__"] = f"Words of xapi's {name}."
        for word in words:
            members[word.upper()] = word

    return cast(type[WireEnum], new_class(name, (WireEnum,), {"name": name}, fill))


ENUMS: Mapping[str, type[WireEnum]] = {
    name: _enum(name, words.split())
    for name, _, words in (line.strip().partition(": ") for line in WORDS.strip().splitlines())
}


def _declared(absent: Absent) -> type[Entity]:
    """The class that an entry of the table describes."""
    annotations: dict[str, Any] = {"uuid": str}
    members: dict[str, Any] = {"uuid": runtime(f"permanent name of a {absent.name}"), "__annotations__": annotations}
    members |= {"__doc__": absent.doc, "__module__": __name__}
    for name, kind, qualifier in fields_of(absent.fields, ENUMS):
        doc = f"as xapi has it; this host has no {absent.name}"
        members[name] = Field(qualifier, doc, kind.default, to=absent.name)
        annotations[name] = Annotated[Any, kind]
    made = new_class(
        absent.name, (Entity,), {"name": absent.name, "role": absent.role}, lambda body: body.update(members)
    )
    return cast(type[Entity], made)


ABSENT = tuple(_declared(absent) for absent in TABLE)
"""The classes, in the order of the table."""
