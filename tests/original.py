"""The original XenAPI 1.0 against the sealed table: every class, field, message, enum, bound pair and error of it.

Each kind is a dict: what the reference has, and how this build differs from it. What differs on purpose is in
``agent.classes.deviations``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

from agent import errors
from agent.classes import enums
from agent.classes.deviations import DEVIATIONS
from agent.messages import api as sealed
from agent.model.api import Api
from agent.model.entity import MISSING as NO_DEFAULT
from agent.model.entity import Field
from agent.model.messages import Message
from agent.model.types import WireEnum

REFERENCE = Path(__file__).parent / "reference"
ORIGINAL: dict[str, Any] = json.loads((REFERENCE / "xenapi-1.0.json").read_text())
API: Api = sealed()

ABSENT = "is not served"

Findings = Mapping[str, list[str]]
"""What the reference has, by name: how it differs here. Nothing, if it does not."""


def classes() -> Findings:
    """Classes, by name. One without fields and accessors of its own is known by its messages."""
    served = {message.class_name for message in API.messages.values()}
    return {name: [] if name in served else [ABSENT] for name in ORIGINAL["classes"]}


def fields() -> Findings:
    """Fields, as ``class.field``: type and qualifier."""
    return {f"{name}.{field}": _field(name, field, *fact) for name, field, fact in _facts("fields")}


def implied_fields() -> Findings:
    """Fields that the reference has accessors of and no row for."""
    return {f"{name}.{field}": _field(name, field, *fact) for name, field, fact in _facts("implied_fields")}


def messages() -> Findings:
    """Messages, as ``class.message``: parameters, by name and type, and result."""
    return {
        f"{name}.{message}": _message(API.messages.get(f"{name}.{message}"), fact)
        for name, message, fact in _facts("messages")
    }


def pairs() -> Findings:
    """Bound fields, as ``class.field class.field``."""
    return {f"{one} {other}": _pair(one, other) for one, other in ORIGINAL["bound_fields"]}


def codes() -> Findings:
    """Errors, by code: the number of parameters."""
    ours = {error.code: error for error in errors.XenError.__subclasses__()}
    return {code: _code(ours.get(code), params) for code, params in ORIGINAL["errors"].items()}


def words() -> Findings:
    """Enums, as ``enum name``: their words, in any case of letters."""
    ours = {
        item.wire_name: {word.lower() for word in item}
        for item in vars(enums).values()
        if isinstance(item, type) and issubclass(item, WireEnum) and item is not WireEnum
    }
    return {
        f"enum {name}": [f"has no {word}" for word in theirs if word.lower() not in ours.get(name, ())]
        for name, theirs in ORIGINAL["enums"].items()
    }


KINDS: Mapping[str, Callable[[], Findings]] = {
    "classes": classes,
    "fields": fields,
    "messages": messages,
    "bound pairs": pairs,
    "errors": codes,
    "enums": words,
    "implied fields": implied_fields,
}


def unlisted(findings: Findings) -> list[str]:
    """What differs and is not listed as a deviation, a line each."""
    return [
        f"{key} {difference}"
        for key, differences in findings.items()
        for difference in differences
        if not deviates(key)
    ]


def deviates(key: str) -> bool:
    """Whether the table of deviations has it: itself, an end of the pair, or the field that a message is about."""
    names = key.split() if not key.startswith("enum ") else [key]
    return any(
        name in DEVIATIONS or name.replace(".get_", ".", 1) in DEVIATIONS or name.replace(".set_", ".", 1) in DEVIATIONS
        for name in names
    )


def served(findings: Findings) -> int:
    """How many are there, as the reference has them or differing as the table of deviations says."""
    absent = [key for key, differences in findings.items() if ABSENT in differences]
    wrong = [key for key, differences in findings.items() if differences and not deviates(key)]
    return len(findings) - len({*absent, *wrong})


def _facts(part: str) -> Iterable[tuple[str, str, Any]]:
    for name, cls in ORIGINAL["classes"].items():
        for item, fact in cls[part].items():
            yield name, item, fact


def _field(name: str, field: str, kind: str, qualifier: str) -> list[str]:
    cls = API.classes.get(name)
    ours = None if cls is None else cls.wire_fields.get(field)
    if ours is None:
        return [ABSENT]
    differences = [] if ours.type.name == kind else [f"has the type {ours.type}, not {kind}"]
    if ours.qualifier.value != qualifier:
        differences.append(f"is {ours.qualifier.value}, not {qualifier}")
    return differences


def _message(ours: Message | None, fact: Mapping[str, Any]) -> list[str]:
    if ours is None:
        return [ABSENT]
    theirs = fact["params"]
    params = [[param.name, param.type.name] for param in ours.params]
    # More may follow that can be left out: a client of the original leaves it out.
    more = ours.params[len(theirs) :]
    differences = []
    if params[: len(theirs)] != theirs or any(param.default is NO_DEFAULT for param in more):
        differences.append(f"takes {params}, not {theirs}")
    if ours.result.name != fact["result"]:
        differences.append(f"results in {ours.result}, not {fact['result']}")
    return differences


def _declared(path: str) -> Field | None:
    name, field = path.split(".")
    cls = API.classes.get(name)
    return None if cls is None else cls.wire_fields.get(field)


def _pair(one: str, other: str) -> list[str]:
    first, second = _declared(one), _declared(other)
    if first is None or second is None:
        return [ABSENT]
    return [] if second.name == first.bound or first.name == second.bound else ["is not bound"]


def _code(ours: type[errors.XenError] | None, theirs: list[str]) -> list[str]:
    if ours is None:
        return [ABSENT]
    count = len(dataclass_fields(ours))  # type: ignore[arg-type]
    return [] if count == len(theirs) else [f"has {count} parameters, not {len(theirs)} as in the original"]
