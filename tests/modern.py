"""Today's xapi against the sealed table: every class, field and message of it, those included that xapi has removed.

What is there and differs, ``tests/agent/test_classes.py`` finds, which knows which qualifiers follow from the
original's rules. Here it is only counted how much is there. Messages that xapi does not document (``get_all_where``)
are no part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agent.model.messages import Message
from agent.model.types import Map, Set, Struct, Type
from tests.original import ABSENT, API, REFERENCE, Findings, deviates

XAPI: dict[str, Any] = json.loads((REFERENCE / "xapi.json").read_text())
UNDOCUMENTED = ("get_all_where", "get_all_records_where")


def classes() -> Findings:
    """Classes, by name. One without messages is a struct of results; one that has nothing at all is served by that."""
    served = {message.class_name for message in API.messages.values()} | set(STRUCTS)
    empty = {name for name, theirs in XAPI["classes"].items() if not theirs["fields"] and not theirs["messages"]}
    return {name: [] if name in served | empty else [ABSENT] for name in XAPI["classes"]}


def fields() -> Findings:
    """Fields, as ``class.field``: the type."""
    found: dict[str, list[str]] = {}
    for name, part in _parts("fields"):
        for field, (kind, _) in part.items():
            ours = _type_of(name, field)
            found[f"{name}.{field}"] = (
                [ABSENT] if ours is None else [] if ours.name == kind else [f"has the type {ours}, not {kind}"]
            )
    return found


def messages() -> Findings:
    """Messages, as ``class.message``: the types of parameters and of the result."""
    return {
        f"{name}.{message}": _signature(API.messages.get(f"{name}.{message}"), fact)
        for name, part in _parts("messages")
        for message, fact in part.items()
        if fact["kind"] not in UNDOCUMENTED
    }


KINDS: Mapping[str, Callable[[], Findings]] = {"classes": classes, "fields": fields, "messages": messages}


def served(findings: Findings) -> int:
    """How many are there, as xapi has them or differing as the table of deviations says."""
    return sum(1 for key, found in findings.items() if ABSENT not in found and (not found or deviates(key)))


def _parts(part: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, theirs in XAPI["classes"].items():
        yield name, {**theirs[part], **theirs.get(f"removed_{part}", {})}


def _type_of(name: str, field: str) -> Type | None:
    if name in STRUCTS:
        return dict(STRUCTS[name].members).get(field)
    cls = API.classes.get(name)
    ours = None if cls is None else cls.wire_fields.get(field)
    return None if ours is None else ours.type


def _signature(ours: Message | None, theirs: Mapping[str, Any]) -> list[str]:
    if ours is None:
        return [ABSENT]
    params = [param.type.name for param in ours.params]
    differences = [] if params == theirs["params"] else [f"takes {params}, not {theirs['params']}"]
    if ours.result.name != theirs["result"]:
        differences.append(f"results in {ours.result}, not {theirs['result']}")
    return differences


def _structs(kind: Type) -> Iterator[Struct]:
    match kind:
        case Struct():
            yield kind
            for _, member in kind.members:
                yield from _structs(member)
        case Set():
            yield from _structs(kind.of)
        case Map():
            yield from _structs(kind.value)


STRUCTS: Mapping[str, Struct] = {
    struct.name.removesuffix(" record"): struct
    for message in API.messages.values()
    for struct in _structs(message.result)
    if struct.name.endswith(" record") and struct.name.removesuffix(" record") not in API.classes
}
"""What results have that is a class in xapi's eyes and nowhere an object."""
