"""The sealed table: every message by name. What it does not have, nobody can call. A faulty model is refused at
start.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from agent.model import messages, types
from agent.model.entity import MISSING, Entity, Field, Qualifier
from agent.model.messages import Message, Namespace
from agent.model.types import Mistyped, Ref, Refused, Set
from agent.roles import Role


@dataclass(frozen=True)
class Api:
    """What this build serves: the classes by wire name, and the messages by ``Class.message``."""

    classes: Mapping[str, type[Entity]]
    messages: Mapping[str, Message]


def seal(classes: ModuleType, verbs: Iterable[ModuleType]) -> Api:
    """Resolve and check every declaration of the module `classes` and of the verb modules, and make the table.

    A verb module may have MESSAGES too, which are made already.

    TypeError, naming the declaration, for a field without a type, a bound field without its other end, a default of the
    wrong type, an unknown type or a missing docstring.
    """
    by_name = seal_classes(classes)
    table: dict[str, Message] = {}
    records = {name: messages.constructor_record(cls) for name, cls in by_name.items()}
    for cls in by_name.values():
        table |= {message.full_name: message for message in messages.derived(cls)}
    for module in verbs:
        for function in vars(module).values():
            if hasattr(function, "__message__") and function.__module__ == module.__name__:
                declared = function.__message__
                if not isinstance(declared.of, Namespace) and declared.of.wire_name not in by_name:
                    raise TypeError(f"{function.__qualname__} is a verb of {declared.of}, which is not declared")
                made = messages.from_function(function, {}, records)
                table[made.full_name] = _checked(made, by_name.get(made.class_name))
        for made in getattr(module, "MESSAGES", ()):
            table[made.full_name] = messages.with_records(made, records)
    return Api(by_name, dict(sorted(table.items())))


def _checked(message: Message, cls: type[Entity] | None) -> Message:
    """A verb in place of a derived ``set_f`` refuses what the field's check refuses, as the derived one would."""
    field = cls.wire_fields.get(message.name.removeprefix("set_")) if cls and message.name.startswith("set_") else None
    if field is None or field.check is None or len(message.params) != 2:
        return message

    def function(call: Any, self: Entity, value: Any) -> Any:
        field.admit(value)
        return message.function(call, self, value)

    return replace(message, function=function)


def seal_classes(classes: ModuleType) -> dict[str, type[Entity]]:
    """Resolve and check the classes alone, of which the module may also have tuples."""
    by_name = {
        item.wire_name: item
        for value in vars(classes).values()
        for item in (value if isinstance(value, tuple) else (value,))
        if isinstance(item, type) and issubclass(item, Entity) and item is not Entity
    }
    for cls in by_name.values():
        if not (cls.__doc__ or "").strip():
            raise TypeError(f"{cls.wire_name} has no docstring")
        hints = inspect.get_annotations(cls, eval_str=True, locals={"m": classes})
        for field in cls.fields.values():
            _resolve(field, hints)
    for cls in by_name.values():
        for field in cls.fields.values():
            _check(cls, field, by_name)
    return by_name


def _resolve(field: Field, hints: Mapping[str, Any]) -> None:
    where = f"{field.owner}.{field.name}"
    if not field.doc.strip():
        raise TypeError(f"{where} has no text")
    hint = hints.get(field.name, hints.get(f"{field.name}_"))
    if hint is None:
        raise TypeError(f"{where} has no annotation")
    if field.to and typing.get_origin(hint) is not typing.Annotated:
        absent: types.Type = Ref(field.to, nullable=True)
        field.type = Set(absent) if typing.get_origin(hint) is tuple else absent
    else:
        field.type = types.of(hint)


def _check(cls: type[Entity], field: Field, classes: Mapping[str, type[Entity]]) -> None:
    where = f"{field.owner}.{field.name}"
    kind = field.type.of if isinstance(field.type, Set) else field.type
    if isinstance(kind, Ref) and kind.to not in classes and not field.to:
        raise TypeError(f"{where} refers to {kind.to}, which is not declared")
    if field.declared_default is not MISSING and not isinstance(kind, Ref):
        try:
            field.type.decode(field.type.dump(field.declared_default), lambda name, ref: None)
        except (Mistyped, Refused) as error:
            raise TypeError(f"{where} has a default that is no {field.type}") from error
    if field.through:
        shown = cls.fields.get(field.through)
        if shown is None or shown.bound != field.bound or field.type.name != f"{shown.type.name} set":
            raise TypeError(f"{where} shows {field.through}, which is no such reference bound to {field.bound}")
    elif field.bound:
        other = classes[typing.cast(Ref, field.type).to].fields.get(field.bound)
        if other is None or other.type.name != f"{cls.wire_name} ref set" or other.qualifier is not Qualifier.RUNTIME:
            raise TypeError(f"{where} is bound to {field.bound}, which is no set of {cls.wire_name} at the other end")


def needs_session(message: Message) -> bool:
    """Whether the first parameter on the wire is a session."""
    return message.role is not None


def least_role(message: Message) -> Role:
    """The least role that may send it."""
    return message.role or Role.READ_ONLY
