"""Messages: what a client can call. The verbs are written by hand under @message; the rest is derived from the fields.

A message is a name, typed parameters, a typed result, a role, and a function. How a call is decoded, where it runs and
how the answer travels is ``agent.rpc``'s business; this module says only of what kind it is.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeVar

from agent.errors import MapDuplicateKey
from agent.model import types
from agent.model.entity import MISSING, Entity, Field, Qualifier
from agent.model.types import Map, Record, Ref, Set, String, Type, Void
from agent.roles import Role

E = TypeVar("E", bound=Entity)


class Kind(Enum):
    """Where a message runs."""

    READ = "read"
    """Answered from memory at once."""
    MEASURE = "measure"
    """Like READ, but what the machine does now is measured first."""
    WRITE = "write"
    """Changes memory and journal only, in one transaction."""
    VERB = "verb"
    """May block: it runs alone in the lane of its object, on a worker thread, and has an ``Async.`` form."""
    BESIDE = "beside"
    """Like VERB, but in no lane: it may overtake what is under way, as pulling the plug must."""
    WAIT = "wait"
    """A generator that yields the time in seconds it is ready to wait for the next change, and returns the result. A
    negative time is slept whatever changes.
    """


class Shared(dict[str, Any]):
    """A struct that many clients get alike. A wire format that has written it keeps that in `written`."""

    __slots__ = ("written",)

    def __init__(self, members: Mapping[str, Any]) -> None:
        super().__init__(members)
        self.written: dict[object, Any] = {}


@dataclass(frozen=True)
class Param:
    """One parameter; `default` other than MISSING may be left out from the end."""

    name: str
    type: Type
    default: Any = MISSING
    doc: str = ""


@dataclass(frozen=True, eq=False)
class Message:
    """One line of the sealed table. `params` leave out the session."""

    class_name: str
    name: str
    params: tuple[Param, ...]
    result: Type
    kind: Kind
    role: Role | None
    """The least role that may send it; None: anybody, without a session."""
    function: Callable[..., Any]
    doc: str
    derived: bool = False
    operation: str = ""
    """The word of allowed_operations that this verb is, if it is one."""
    has_async: bool = False
    password: bool = False
    """Whether it checks a password, so that guesses are to cost what they cost at a login."""

    @property
    def full_name(self) -> str:
        """``Class.message``."""
        return f"{self.class_name}.{self.name}"

    @property
    def required(self) -> int:
        """How many parameters cannot be left out."""
        return sum(1 for param in self.params if param.default is MISSING)

    @property
    def line(self) -> str:
        """One line that says all of it, for the golden test and the reference."""
        params = ", ".join(
            f"{param.type} {param.name}" + ("" if param.default is MISSING else "=") for param in self.params
        )
        asynchronous = " async" if self.has_async else ""
        return (
            f"{self.full_name}({params}) -> {self.result} [{self.role.wire if self.role else 'anybody'}]{asynchronous}"
        )


@dataclass(frozen=True)
class Namespace:
    """A word before the dot that is no class of objects: ``system``, ``auth``."""

    wire_name: str
    role: Role = Role.READ_ONLY


@dataclass(frozen=True)
class Declared:
    """What @message noted on a function, until the table is sealed."""

    of: type[Entity] | Namespace
    kind: Kind
    role: Role | None
    operation: str
    has_async: bool | None
    password: bool
    name: str


def message(
    of: type[Entity] | Namespace,
    *,
    kind: Kind = Kind.VERB,
    role: Role | None = None,
    anybody: bool = False,
    operation: str = "",
    has_async: bool | None = None,
    password: bool = False,
    name: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a verb: ``@message(VIF) def plug(call, self: VIF) -> None``.

    The function's name is the message's (a trailing underscore avoids Python's words), its docstring the reference, its
    annotations the types; a parameter with a default may be left out. `role` is the class's unless given; `anybody`
    means that no session is needed, `password` that it checks one. A verb named like a derived message replaces it.
    """

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        least = None if anybody else (role if role is not None else of.role)
        declared = Declared(of, kind, least, operation, has_async, password, name or function.__name__.rstrip("_"))
        function.__message__ = declared  # type: ignore[attr-defined]
        return function

    return declare


def from_function(function: Callable[..., Any], names: Mapping[str, Any], records: Mapping[str, Record]) -> Message:
    """The message that a function under @message declares. TypeError for a faulty declaration."""
    declared: Declared = function.__message__  # type: ignore[attr-defined]
    where = f"{declared.of.wire_name}.{declared.name}"
    doc = inspect.cleandoc(function.__doc__ or "")
    if not doc:
        raise TypeError(f"{where} has no docstring")
    hints = typing.get_type_hints(function, globalns={**function.__globals__, **names}, include_extras=True)
    params = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        kind = types.of(hints[parameter.name])
        if isinstance(kind, Record) and kind.of in records:
            kind = records[kind.of]
        default = MISSING if parameter.default is parameter.empty else parameter.default
        params.append(Param(parameter.name.rstrip("_"), kind, default))
    result = hints["return"]
    if declared.kind is Kind.WAIT:
        result = typing.get_args(result)[2]
    return Message(
        declared.of.wire_name,
        declared.name,
        tuple(params),
        types.of(result),
        declared.kind,
        declared.role,
        function,
        doc,
        operation=declared.operation,
        has_async=(declared.kind in (Kind.VERB, Kind.BESIDE) and declared.role is not None)
        if declared.has_async is None
        else declared.has_async,
        password=declared.password,
    )


def with_records(made: Message, records: Mapping[str, Record]) -> Message:
    """The message, with the fields of the records that it takes."""
    params = (
        replace(param, type=records[param.type.of]) if isinstance(param.type, Record) else param
        for param in made.params
    )
    return replace(made, params=tuple(params))


# --- what the fields alone say


def constructor_record(cls: type[Entity]) -> Record:
    """The record that create takes: the RW and RO/constructor fields."""
    given = {
        name: field
        for name, field in cls.wire_fields.items()
        if field.qualifier in (Qualifier.RW, Qualifier.CONSTRUCTOR)
    }
    return Record(cls.wire_name, given)


def construct(cls: type[E], args: Mapping[str, Any]) -> E:
    """A loose object from a decoded constructor record."""
    return cls(**{name: value for name, value in args.items() if name})


def derived(cls: type[Entity]) -> list[Message]:
    """All messages that follow from a class's table."""
    record = constructor_record(cls)
    this = Param("self", Ref(cls.wire_name))
    kind = Kind.MEASURE if cls.measured else Kind.READ
    result: list[Message] = []

    def add(
        name: str, params: Sequence[Param], returns: Type, of: Kind, role: Role, function: Callable[..., Any], doc: str
    ) -> None:
        asynchronous = name in ("create", "destroy")
        result.append(
            Message(
                cls.wire_name,
                name,
                tuple(params),
                returns,
                of,
                role,
                function,
                doc,
                derived=True,
                has_async=asynchronous,
            )
        )

    for field in cls.wire_fields.values():
        add(
            f"get_{field.name}",
            [this],
            field.type,
            kind if field.qualifier is Qualifier.RUNTIME else Kind.READ,
            cls.reads,
            _getter(field.name),
            f"Read {field.name}: {field.doc}.",
        )
        if field.qualifier is Qualifier.RW:
            for name, params, function, doc in _changers(field):
                add(name, [this, *params], Void(), Kind.WRITE, field.role or cls.role, function, doc)
    if not cls.stored:
        return []
    returns = Record(cls.wire_name)
    refs = Set(Ref(cls.wire_name))
    everything = Map(Ref(cls.wire_name), returns)
    read = cls.reads
    add("get_record", [this], returns, kind, read, lambda call, self: self, f"Read all fields of a {cls.wire_name}.")
    add("get_all", [], refs, Kind.READ, read, lambda call: call.store.all(cls), f"List every {cls.wire_name}.")
    add(
        "get_all_records",
        [],
        everything,
        kind,
        read,
        lambda call: {entity: entity for entity in call.store.all(cls)},
        f"Read all fields of every {cls.wire_name}.",
    )
    add(
        "get_all_records_where",
        [Param("expr", String())],
        everything,
        kind,
        read,
        lambda call, expr: {entity: entity for entity in call.select(cls, expr)},
        f"Read all fields of every {cls.wire_name} for which the expression holds, such as "
        '`field "name__label" = "web"`, combined by `and`, `or`, `not` and parentheses.',
    )
    add(
        "get_by_uuid",
        [Param("uuid", String())],
        Ref(cls.wire_name),
        Kind.READ,
        read,
        lambda call, uuid: call.store.by_uuid(cls, uuid),
        f"Find the {cls.wire_name} with this uuid; UUID_INVALID if there is none.",
    )
    if "name_label" in cls.wire_fields:
        add(
            "get_by_name_label",
            [Param("label", String())],
            refs,
            Kind.READ,
            read,
            lambda call, label: [entity for entity in call.store.all(cls) if entity.name_label == label],
            f"Find every {cls.wire_name} with this name; names need not be unique, and none is no error.",
        )
    if cls.creates:
        add(
            "create",
            [Param("args", record)],
            Ref(cls.wire_name),
            Kind.WRITE,
            cls.role,
            lambda call, args: call.store.add(construct(cls, args)),
            f"Make a {cls.wire_name} from a record of its RW and RO/constructor fields; missing RW fields take their "
            "defaults.",
        )
    if cls.destroys:
        add(
            "destroy",
            [this],
            Void(),
            Kind.WRITE,
            cls.role,
            lambda call, self: call.store.destroy(self),
            f"Destroy the {cls.wire_name}. It fails while another object refers to it, and takes none along.",
        )
    return result


def _getter(name: str) -> Callable[..., Any]:
    return lambda call, self: self.__dict__[name]


def _changers(field: Field) -> list[tuple[str, list[Param], Callable[..., Any], str]]:
    """set_f; and for sets and maps the messages that change one element. Name, parameters, function, doc of each."""
    name, kind = field.name, field.type

    def assign(call: Any, self: Entity, value: Any) -> None:
        field.admit(value)
        setattr(self, name, value)

    result: list[tuple[str, list[Param], Callable[..., Any], str]] = []
    if field.setter:
        result.append((f"set_{name}", [Param("value", kind)], assign, f"Set {name}: {field.doc}."))
    if isinstance(kind, Set):

        def add(call: Any, self: Entity, value: Any) -> None:
            present = self.__dict__[name]
            if value not in present:
                assign(call, self, (*present, value))

        def remove(call: Any, self: Entity, value: Any) -> None:
            assign(call, self, tuple(item for item in self.__dict__[name] if item != value))

        for prefix in ("add", "add_to"):
            doc = f"Add an element to {name}; one that is there stays there once."
            result.append((f"{prefix}_{name}", [Param("value", kind.of)], add, doc))
        for prefix in ("remove", "remove_from"):
            doc = f"Take an element out of {name}; nothing happens if it is not there."
            result.append((f"{prefix}_{name}", [Param("value", kind.of)], remove, doc))
    elif isinstance(kind, Map):

        def add_to(call: Any, self: Entity, key: Any, value: Any) -> None:
            present = self.__dict__[name]
            if key in present:
                raise MapDuplicateKey(field.owner, name, self, key)
            assign(call, self, {**present, key: value})

        def remove_from(call: Any, self: Entity, key: Any) -> None:
            assign(call, self, {item: value for item, value in self.__dict__[name].items() if item != key})

        parts = [Param("key", kind.key), Param("value", kind.value)]
        result.append((f"add_to_{name}", parts, add_to, f"Add a key to {name}; MAP_DUPLICATE_KEY if it is there."))
        doc = f"Take a key out of {name}; nothing happens if it is not there."
        result.append((f"remove_from_{name}", [Param("key", kind.key)], remove_from, doc))
    return result
