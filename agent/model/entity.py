"""Entity, the base of every XenAPI class, and the qualifiers that its fields are declared with.

A class is declared once, as the table that the specification prints: field, type, qualifier, meaning. What follows from
a declaration (messages, records, checks, persistence, the reference) is derived elsewhere; an entity only holds its
values and tells its store of every assignment. Reading an attribute is a plain dictionary look-up.
"""

from __future__ import annotations

import uuid as uuids
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, dataclass_transform

from agent.errors import FieldTypeError, InvalidValue
from agent.model import types
from agent.model.types import Find, Mistyped, Refused, Type
from agent.roles import Role

if TYPE_CHECKING:
    from agent.store.store import Store

MISSING: Any = object()
"""Stands for "no default was declared"."""


class Qualifier(Enum):
    """Who may set a field, and when. The value is the specification's word."""

    RW = "RW"
    CONSTRUCTOR = "RO/constructor"
    RUNTIME = "RO/runtime"
    INTERNAL = "internal"
    """Kept in the journal and never shown on the wire."""


@dataclass(eq=False)
class Field:
    """One row of a class's table. `type`, `name` and `owner` are filled in when the class is sealed."""

    qualifier: Qualifier
    doc: str
    declared_default: Any = MISSING
    bound: str = ""
    """The field of the referenced class that holds the other end."""
    through: str = ""
    """The internal reference, bound to the same field, that this set shows: the original API has a set where there is
    one at the most.
    """
    weak: bool = False
    """The reference does not keep its target: it becomes null when that is destroyed."""
    part: bool = False
    """The agent makes this object as a part of the referenced one: it goes when that is destroyed."""
    cascade: bool = False
    """A part that clients make: it goes along only where ``[api] destroy = "xapi"``."""
    owns: bool = False
    """The referenced object is a part of this one: it goes when this is destroyed."""
    check: Callable[[Any], object] | None = None
    """Called with a decoded value of a client's; it refuses by ValueError with the reason, or by a XenError."""
    kept: bool = False
    """A runtime field that the journal keeps, since nothing outside knows it."""
    passing: bool = False
    """A field that the journal does not keep: it is seen, or told, anew."""
    quiet: bool = False
    """A new value makes no event: it is measured when read, or nobody outside sees it."""
    to: str = ""
    """The wire name of the referenced class, for one that this build does not declare, or that only a table names."""
    role: Role | None = None
    """Who may change it; None: the role of the class."""
    setter: bool = True
    """Whether ``set_f`` is derived for an RW field; it is always for sets and maps."""
    name: str = ""
    type: Type = None  # type: ignore[assignment]
    owner: str = ""

    @property
    def default(self) -> Any:
        """The declared default, else the neutral value of the type."""
        return self.type.default if self.declared_default is MISSING else self.declared_default

    @property
    def required(self) -> bool:
        """Whether create must be given it: RO/constructor without a declared default."""
        return self.qualifier is Qualifier.CONSTRUCTOR and self.declared_default is MISSING

    @property
    def persistent(self) -> bool:
        """Whether the journal keeps it."""
        return self.kept or (self.qualifier is not Qualifier.RUNTIME and not self.passing)

    def decode(self, value: object, find: Find) -> Any:
        """A value from the wire, checked as this field needs it.

        FIELD_TYPE_ERROR for a wrong type, INVALID_VALUE for one out of range, HANDLE_INVALID for a dead reference.
        """
        if value == "" and isinstance(self.type, types.Enum):
            # Clients written in Go send every field of a record, and an empty word for those they do not mean to set.
            return self.default
        try:
            decoded = self.type.decode(value, find)
        except Mistyped:
            raise FieldTypeError(self.name) from None
        except Refused as error:
            raise self._invalid(value, error) from None
        self.admit(decoded)
        return decoded

    def admit(self, value: object) -> None:
        """Refuse a decoded value that this field cannot hold: INVALID_VALUE, or the XenError that its check raises."""
        if self.check is not None:
            try:
                self.check(value)
            except ValueError as error:
                raise self._invalid(value, error) from None

    def _invalid(self, value: object, why: Exception) -> InvalidValue:
        # Python refuses to write an integer of more than 4300 digits, and takes its time for a shorter one.
        large = isinstance(value, int) and value.bit_length() > 64
        shown = "a large number" if large else repr(str(value)[:200].encode("ascii", "backslashreplace").decode())
        return InvalidValue(self.name, f"{shown}: {why}")


def readwrite(doc: str, *, default: Any = MISSING, init: bool = True, **options: Any) -> Any:
    """A field that clients may set at any time, and give to create."""
    return Field(Qualifier.RW, doc, default, **options)


def constructor(doc: str, *, default: Any = MISSING, init: bool = True, **options: Any) -> Any:
    """A field that clients give to create, and that is fixed from then on."""
    return Field(Qualifier.CONSTRUCTOR, doc, default, **options)


def runtime(doc: str, *, default: Any = MISSING, init: Literal[False] = False, **options: Any) -> Any:
    """A field that only the agent sets: what it observes, computes or made up when it made the object."""
    return Field(Qualifier.RUNTIME, doc, default, **options)


def internal(doc: str, *, default: Any = MISSING, init: Literal[False] = False, **options: Any) -> Any:
    """A field of the agent's own, kept in the journal and unknown to the wire: a new value makes no event."""
    return Field(Qualifier.INTERNAL, doc, default, quiet=True, **options)


def reference_of(uuid: str) -> str:
    """The reference of the object with this uuid."""
    return f"OpaqueRef:{uuid}"


@dataclass_transform(
    eq_default=False, kw_only_default=True, field_specifiers=(readwrite, constructor, runtime, internal)
)
class Entity:
    """One XenAPI object: the values of its class's fields.

    Until `Store.add` takes it in, it is a loose record that only its maker knows. From then on assignments need a
    transaction of that store, which keeps both ends of bound fields, the journal and the events in step.
    """

    __slots__ = ("__dict__", "__weakref__", "_json", "_referrers", "_store", "_volatile", "_xml", "ref")

    wire_name: ClassVar[str] = ""
    fields: ClassVar[Mapping[str, Field]] = {}
    """All fields in the order of declaration; those of the wire are `wire_fields`."""
    wire_fields: ClassVar[Mapping[str, Field]] = {}
    role: ClassVar[Role] = Role.POOL_OPERATOR
    """Who may change objects of this class, unless a field or verb says otherwise."""
    reads: ClassVar[Role] = Role.READ_ONLY
    """Who may look at objects of this class."""
    creates: ClassVar[bool] = False
    destroys: ClassVar[bool] = False
    stored: ClassVar[bool] = True
    """Whether there are objects of it; an event only ever travels."""
    measured: ClassVar[bool] = False
    """Whether reading it measures the machine first (the metrics classes)."""
    announced: ClassVar[bool] = True
    """Whether its changes make events."""
    _defaults: ClassVar[dict[str, Any]] = {}
    persistent_fields: ClassVar[Mapping[str, Field]] = {}
    """What the journal keeps."""
    derive_from: ClassVar[frozenset[str] | None] = None
    """The fields that `derive` reads; None is all of them."""
    lane: ClassVar[str] = ""
    """The field that leads to the object whose lane changes take; ``self`` is its own, empty is the host's."""

    ref: str
    _store: Store | None
    _referrers: dict[tuple[Entity, str], None]
    _volatile: bool
    _xml: Any
    _json: Any
    uuid: str

    def __init_subclass__(
        cls,
        *,
        name: str = "",
        role: Role = Role.POOL_OPERATOR,
        reads: Role = Role.READ_ONLY,
        creates: bool = False,
        destroys: bool = False,
        stored: bool = True,
        measured: bool = False,
        announced: bool = True,
        lane: str = "",
    ) -> None:
        super().__init_subclass__()
        cls.wire_name = name or cls.__name__
        cls.role, cls.reads, cls.creates, cls.destroys, cls.stored = role, reads, creates, destroys, stored
        cls.measured, cls.announced, cls.lane = measured, announced, lane
        # A trailing underscore only avoids Python's words: event.class is class_ here.
        fields = {name.rstrip("_"): value for name, value in vars(cls).items() if isinstance(value, Field)}
        for name_on_wire, value in fields.items():
            value.name, value.owner = name_on_wire, cls.wire_name
        cls.fields, cls._defaults = fields, {}
        cls.persistent_fields = {key: value for key, value in fields.items() if value.persistent}
        cls.wire_fields = {key: value for key, value in fields.items() if value.qualifier is not Qualifier.INTERNAL}

    def __init__(self, **values: Any) -> None:
        uuid = values.pop("uuid", None) or str(uuids.uuid4())
        put = object.__setattr__
        put(self, "_store", None)
        put(self, "_referrers", {})
        put(self, "_volatile", False)
        put(self, "_xml", None)
        put(self, "_json", None)
        put(self, "ref", reference_of(uuid))
        unknown = values.keys() - self.fields.keys()
        if unknown:
            raise TypeError(f"{self.wire_name} has no field {', '.join(unknown)}")
        self.__dict__.update(self._neutral(), **values)
        self.__dict__["uuid"] = uuid

    @classmethod
    def _neutral(cls) -> dict[str, Any]:
        """All fields with their defaults, worked out once; nobody changes a value in place."""
        if not cls._defaults:
            cls._defaults = {name: field.default for name, field in cls.fields.items()}
        return cls._defaults

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.fields:
            raise AttributeError(f"{self.wire_name} has no field {name}")
        if self._store is None:
            self.__dict__[name] = value
            if name == "uuid":
                object.__setattr__(self, "ref", reference_of(value))
        else:
            self._store.assign(self, name, value)

    def derive(self) -> None:
        """Recompute the fields that follow from others. The store calls it for what a transaction touched, before it
        ends.
        """

    def __repr__(self) -> str:
        label = self.__dict__.get("name_label", "")
        return f"<{self.wire_name} {self.__dict__.get('uuid', '?')}{' ' + repr(label) if label else ''}>"
