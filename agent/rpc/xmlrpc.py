"""XML-RPC as xapi speaks it: bytes to a method name and raw values, typed results to bytes.

Reading is strict where leniency would be a hole (no DOCTYPE, bounded nesting and numbers, no member twice) and lenient
where living clients need it (bare text for a string, ``<i8>``, numbers as text). Writing is xapi's dialect: strings and
ints as bare ``<value>x</value>``, truths, doubles and dates typed. What a value means, ``agent.model.types`` decides;
how bytes travel is ``agent.rpc.server``'s business. The file is long since both directions share one dialect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from xml.parsers import expat

from agent.model import types
from agent.model.entity import Entity
from agent.model.types import NULL, UNPRINTABLE, Type
from agent.rpc.answers import Steps, Wire, date_text

DEPTH_MAX = 64
"""Values within values; today's clients need four."""
VALUES_MAX = 100_000
NAME_MAX = 256
MEMBER_MAX = 1024
NUMBER_MAX = 64
"""Characters that a number may take, blanks included."""
FAST_MAX = 8192

Call = tuple[str, list[Any]]
"""The method's name and the parameters: str, int, float, bool, None, list, dict; a date is its text."""


class Malformed(Exception):
    """The bytes are no call; the argument says what is wrong, without quoting values."""


class Forbidden(Malformed):
    """The bytes try something that no client needs: a document type, which is how XML bombs and file readers come."""


# --- reading

_SPACE = "[ \t\n]*"
# Text that the parser would hand on as it stands: no markup, no CR (XML makes it LF), no ']' (for ']]>' is no text).
_TEXT = r"[^\x00-\x08\x0b-\x1f&<\]\ufffe\uffff]*"
_VALUE = f"{_SPACE}<param>{_SPACE}<value>(?:<string>{_TEXT}</string>|{_TEXT})</value>{_SPACE}</param>"
_SMALL_CALL = re.compile(
    r"(?:<\?xml version=(?:'1\.0'|\"1\.0\")(?: encoding=(?:'(?i:utf-8)'|\"(?i:utf-8)\"))?\?>)?"
    f"{_SPACE}<methodCall>{_SPACE}<methodName>([A-Za-z0-9_.]{{1,{NAME_MAX}}})</methodName>"
    f"{_SPACE}<params>((?:{_VALUE})*){_SPACE}</params>{_SPACE}</methodCall>{_SPACE}"
)
_STRINGS = re.compile(f"<value>(?:<string>)?({_TEXT})")
_INTEGER = re.compile("[ \t\n]*[+-]?[0-9]{1,20}[ \t\n]*")
_DOUBLE = re.compile(r"[ \t\n]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?[ \t\n]*")


def decode(body: bytes) -> Call:
    """Read a call. Malformed for anything else; Forbidden for a document type."""
    if len(body) <= FAST_MAX:
        call = decode_small(body)
        if call is not None:
            return call
    return decode_any(body)


def decode_small(body: bytes) -> Call | None:
    """Read the usual call, all of whose parameters are strings; None for any other."""
    try:
        match = _SMALL_CALL.fullmatch(body.decode())
    except UnicodeDecodeError:
        return None
    return None if match is None else (match[1], _STRINGS.findall(match[2]))


def decode_any(body: bytes) -> Call:
    """Read a call with the whole grammar."""
    _check_utf8(body)
    reader = _Reader(body.isascii())
    parser = expat.ParserCreate("UTF-8")
    parser.buffer_text = True
    parser.XmlDeclHandler = reader.declaration
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.EntityDeclHandler = reader.doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text.append
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise Malformed(f"not well-formed XML in UTF-8: {error}") from None
    return reader.name, reader.params


def _check_utf8(body: bytes) -> None:
    """Refuse other encodings. expat 2.5, though told that it is UTF-8, goes over to UTF-16 for a byte order mark of it,
    and for a NUL beside the first character.
    """
    if b"\0" in body:
        raise Malformed("not UTF-8: there is a NUL")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8: {error.reason} at octet {error.start}") from None


def _integer(text: str) -> int:
    if len(text) > NUMBER_MAX or not _INTEGER.fullmatch(text):
        raise Malformed("an integer is not written as one")
    return int(text)


def _double(text: str) -> float:
    if len(text) > NUMBER_MAX or not _DOUBLE.fullmatch(text):
        raise Malformed("a double is not written as one")
    return float(text)


def _boolean(text: str) -> bool:
    stripped = text[:NUMBER_MAX].strip(" \t\n")
    if stripped not in ("0", "1"):
        raise Malformed("a boolean is neither 0 nor 1")
    return stripped == "1"


def _date(text: str) -> str:
    if len(text) > NUMBER_MAX:
        raise Malformed("a date is not written as one")
    return text


def _nil(text: str) -> None:
    if text.strip(" \t\n"):
        raise Malformed("<nil> is not empty")


def _base64(text: str) -> str:
    raise Malformed("<base64> is refused: no message takes bytes")


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "string": str,
    "int": _integer,
    "i4": _integer,
    "i8": _integer,
    "boolean": _boolean,
    "double": _double,
    "dateTime.iso8601": _date,
    "nil": _nil,
    "base64": _base64,
}
_NOTHING: Mapping[str, str] = {}
_GRAMMAR: Mapping[str, Mapping[str, str]] = {
    "": {"methodCall": "+"},
    "methodCall": {"methodName": "methodCall+"},
    "methodCall+": {"params": "methodCall++"},
    "params": {"param": "params"},
    "param": {"value": "param+"},
    "value": dict.fromkeys((*_SCALARS, "array", "struct"), "value+"),
    "array": {"data": "array+"},
    "data": {"value": "data"},
    "struct": {"member": "struct"},
    "member": {"name": "member+"},
    "member+": {"value": "member++"},
}
"""The children that may come at a place, and the place that it is after them. At most one root, one name and so on."""
_WHOLE = frozenset({"methodCall+", "methodCall++", "params", "param+", "array+", "data", "struct", "member++"})
"""Where these elements may end."""


class _Reader:
    """The grammar of a call, fed by expat. It keeps its own stack, so nesting costs no recursion.

    Where in the grammar we are is one word: an element, with ``+`` behind it for every child it has had.
    """

    def __init__(self, ascii_only: bool) -> None:
        self._ascii_only = ascii_only
        self._place = ""
        self._content: Any = None
        """What the open element holds so far: a list, a dict, the name of a member, or the value of a <value>."""
        self._outer: list[tuple[str, Any]] = []
        self._depth = 0
        self._count = 0
        self.text: list[str] = []
        self.name = ""
        self.params: list[Any] = []

    def declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "us-ascii") and not self._ascii_only:
            raise Malformed("only UTF-8 is read")

    def doctype(self, *declared: object) -> None:
        raise Forbidden("a document type is refused")

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        place = _GRAMMAR.get(self._place, _NOTHING).get(tag)
        if place is None:
            raise Malformed(f"<{tag[:40]}> does not belong there in <{self._place.rstrip('+') or 'the document'}>")
        if self.text:
            self._blank()
        self._outer.append((place, self._content))
        self._place = tag
        if tag == "value":
            self._depth += 1
            self._count += 1
            if self._depth > DEPTH_MAX:
                raise Malformed(f"values nest deeper than {DEPTH_MAX}")
            if self._count > VALUES_MAX:
                raise Malformed(f"there are more than {VALUES_MAX} values")
        elif tag == "data":
            self._content = []
        elif tag == "struct":
            self._content = {}

    def end(self, tag: str) -> None:
        inside, content = self._place, self._content
        self._place, self._content = self._outer.pop()
        if tag == "value":
            self._depth -= 1
            self._value(content if inside == "value+" else self._take())
            if inside == "value+" and self.text:
                self._blank()
        elif tag == "name":
            self._content = self._bounded("a member's name", MEMBER_MAX)
        elif tag in _SCALARS:
            self._content = _SCALARS[tag](self._take())
        elif tag == "methodName":
            self.name = self._bounded("the method's name", NAME_MAX).strip(" \t\n")
        else:
            if self.text:
                self._blank()
            if inside not in _WHOLE:
                raise Malformed(f"<{tag}> is not complete")
            if tag in ("struct", "array", "data"):
                self._content = content
            elif tag == "methodCall" and not self.name:
                raise Malformed("the call names no method")

    def _value(self, value: Any) -> None:
        """Put a value where it belongs."""
        match self._place:
            case "data":
                self._content.append(value)
            case "member++":
                members = self._outer[-1][1]
                if self._content in members:
                    raise Malformed("a struct has the same member twice")
                members[self._content] = value
            case _:
                self.params.append(value)

    def _take(self) -> str:
        text = "".join(self.text)
        self.text.clear()
        return text

    def _bounded(self, what: str, limit: int) -> str:
        text = self._take()
        if len(text) > limit:
            raise Malformed(f"{what} is longer than {limit} characters")
        return text

    def _blank(self) -> None:
        if self._take().strip(" \t\r\n"):
            raise Malformed("there is stray text between the elements")


# --- writing values


def text(value: str) -> str:
    """Text as XML carries it. What XML cannot carry never gets past the types; if it does, it becomes U+FFFD here."""
    if "&" in value:
        value = value.replace("&", "&amp;")
    if "<" in value:
        value = value.replace("<", "&lt;")
    if ">" in value:
        value = value.replace(">", "&gt;")
    if not value.isprintable():
        value = UNPRINTABLE.sub("\ufffd", value).replace("\r", "&#13;")
    return value


def _double_text(value: float) -> str:
    return f"<double>{repr(value).removesuffix('.0')}</double>"


def _reference(value: Entity | None) -> str:
    return NULL if value is None else value.ref


@dataclass(frozen=True, slots=True)
class Writer:
    """How values of one type are written: as text at once, or, where there are records in it, step by step."""

    text: Callable[[Any], str] | None
    steps: Callable[[Any, list[bytes]], Steps]


@cache
def writer(kind: Type) -> Writer:
    """The writer of a type. There are as many as there are types of results."""
    match kind:
        case types.Record():
            return Writer(None, _record_steps)
        case types.Set():
            return _set_writer(kind)
        case types.Map():
            return _map_writer(kind)
        case types.Struct():
            return _struct_writer(kind)
        case types.Void():
            return _plain(lambda value: "")
        case types.String() | types.Enum():
            return _plain(text)
        case types.Int32():
            return _plain(lambda value: f"<i4>{value}</i4>")
        case types.Int():
            return _plain(str)
        case types.Float():
            return _plain(_double_text)
        case types.Bool():
            return _plain(lambda value: "<boolean>1</boolean>" if value else "<boolean>0</boolean>")
        case types.DateTime():
            return _plain(lambda value: f"<dateTime.iso8601>{date_text(value)}</dateTime.iso8601>")
        case types.Ref():
            return _plain(_reference)
    raise TypeError(f"{kind} has no form in XML")


def _plain(write: Callable[[Any], str]) -> Writer:
    def steps(value: Any, out: list[bytes]) -> Steps:
        out.append(write(value).encode())
        return iter(())

    return Writer(write, steps)


def _key(kind: Type) -> Callable[[Any], str]:
    """How a key of a map is written as the name of a member."""
    match kind:
        case types.String() | types.Enum():
            return text
        case types.Ref():
            return _reference
    return lambda key: text(str(kind.dump(key)))


def _set_writer(kind: types.Set) -> Writer:
    inner = writer(kind.of)
    if inner.text is not None:
        write = inner.text

        def plain(value: Collection[Any]) -> str:
            if not value:
                return "<array><data></data></array>"
            return f"<array><data>{''.join([f'<value>{write(item)}</value>' for item in value])}</data></array>"

        return _plain(plain)

    def steps(value: Iterable[Any], out: list[bytes]) -> Iterator[None]:
        out.append(b"<array><data>")
        for item in value:
            out.append(b"<value>")
            yield from inner.steps(item, out)
            out.append(b"</value>")
        out.append(b"</data></array>")

    return Writer(None, steps)


def _map_writer(kind: types.Map) -> Writer:
    inner, key = writer(kind.value), _key(kind.key)
    if inner.text is not None:
        write = inner.text

        def plain(value: Mapping[Any, Any]) -> str:
            if not value:
                return "<struct></struct>"
            members = [
                f"<member><name>{key(name)}</name><value>{write(item)}</value></member>" for name, item in value.items()
            ]
            return f"<struct>{''.join(members)}</struct>"

        return _plain(plain)

    def steps(value: Mapping[Any, Any], out: list[bytes]) -> Iterator[None]:
        out.append(b"<struct>")
        for name, item in value.items():
            out.append(f"<member><name>{key(name)}</name><value>".encode())
            yield from inner.steps(item, out)
            out.append(b"</value></member>")
        out.append(b"</struct>")

    return Writer(None, steps)


def _struct_writer(kind: types.Struct) -> Writer:
    members = [(name, f"<member><name>{text(name)}</name><value>", writer(of)) for name, of in kind.members]

    def steps(value: Mapping[str, Any], out: list[bytes]) -> Iterator[None]:
        pending = "<struct>"
        for name, opening, inner in members:
            if name in kind.optional and value.get(name) is None:
                continue
            pending += opening
            if inner.text is not None:
                pending += inner.text(value[name])
            else:
                out.append(pending.encode())
                yield from inner.steps(value[name], out)
                pending = ""
            pending += "</value></member>"
        out.append((pending + "</struct>").encode())

    return Writer(None, steps)


# --- writing records


@cache
def _record_writer(cls: type[Any]) -> Callable[[Entity], bytes]:
    """The writer of a sealed class: one template, and for every field what turns its value into text."""
    template = "".join(
        f"<member><name>{text(name)}</name><value>".replace("%", "%%") + "%s</value></member>"
        for name in cls.wire_fields
    )
    template = f"<struct>{template}</struct>"
    plan: list[tuple[str, Callable[[Any], str]]] = []
    for name, field in cls.wire_fields.items():
        write = writer(field.type).text
        if write is None:
            raise TypeError(f"{cls.wire_name}.{name} is a record in a record")
        plan.append((name, write))

    def encode(entity: Entity) -> bytes:
        held = entity.__dict__
        return (template % tuple([write(held[name]) for name, write in plan])).encode()

    return encode


def record(entity: Entity) -> bytes:
    """The record of an object. The object keeps it until a field of it changes, which is the store's to notice."""
    kept: bytes | None = entity._xml
    if kept is not None:
        return kept
    cls: Any = type(entity)
    encode = _record_writer(cls)
    store = entity._store
    if store is None:
        return encode(entity)
    with store.lock:
        made = encode(entity)
        object.__setattr__(entity, "_xml", made)
    return made


def _record_steps(entity: Entity, out: list[bytes]) -> Iterator[None]:
    out.append(record(entity))
    yield


def _member(entity: Entity) -> bytes:
    return f"<member><name>{entity.ref}</name><value>".encode()


def _steps(kind: Type, value: Any, out: list[bytes]) -> Steps:
    return writer(kind).steps(value, out)


WIRE = Wire(
    steps=_steps,
    record=record,
    member=_member,
    opening=b"<struct>",
    between=b"</value></member>",
    closing=b"</value></member></struct>",
)


# --- writing answers

_ANSWER = '<?xml version="1.0"?><methodResponse><params><param><value>%s</value></param></params></methodResponse>'
_SUCCESS, _END = (
    _ANSWER % "<struct><member><name>Status</name><value>Success</value></member>"
    "<member><name>Value</name><value>%s</value></member></struct>"
).split("%s")
_FAILURE = _ANSWER % (
    "<struct><member><name>Status</name><value>Failure</value></member>"
    "<member><name>ErrorDescription</name><value><array><data>%s</data></array></value></member></struct>"
)
SUCCESS = (_SUCCESS.encode(), _END.encode())
"""What stands before and after the value of a success."""
BARE = tuple(part.encode() for part in _ANSWER.split("%s"))
"""The same for the ``system`` messages, which answer without Status."""


def failure(description: Iterable[str]) -> bytes:
    """The answer to a call that failed: the code and its parameters."""
    return (_FAILURE % "".join([f"<value>{text(item)}</value>" for item in description])).encode()


def fault(reason: str) -> bytes:
    """The answer to what is no call at all."""
    return (
        '<?xml version="1.0"?><methodResponse><fault><value><struct>'
        "<member><name>faultCode</name><value><int>-1</int></value></member>"
        f"<member><name>faultString</name><value><string>{text(reason)}</string></value></member>"
        "</struct></value></fault></methodResponse>"
    ).encode()


def value_text(kind: Type, value: Any) -> str:
    """A value as the result of a task holds it: ``<value>OpaqueRef:...</value>``, and nothing for void."""
    if isinstance(kind, types.Void):
        return ""
    out: list[bytes] = []
    for _ in writer(kind).steps(value, out):
        pass
    return f"<value>{b''.join(out).decode()}</value>"
