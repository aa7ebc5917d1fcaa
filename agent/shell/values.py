"""Values between command line and wire: text as a person writes it, values as people and programs read them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from agent.shell.asked import Misused, meant
from agent.shell.spellings import LOWER
from agent.shell.words import Shape, Word, key

NULL = "OpaqueRef:NULL"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SIZE = re.compile(r"([+-]?\d+)\s*(?:([kmgtp])(ib|b)?)?", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")

Find = Callable[[str, str], str]
"""The reference of the object of a class that a text names."""


def parse(shape: Shape, text: str, what: str, find: Find) -> Any:
    """What is sent for a text. Misused, naming `what`, where it cannot be one of this type."""
    match shape.kind:
        case "string" | "datetime" | "file":
            return text
        case "int":
            return _integer(text, what)
        case "float":
            try:
                return float(text)
            except ValueError:
                raise Misused(f"{what}: {text!r} is no number") from None
        case "bool":
            if text.lower() not in _YES + _NO:
                raise Misused(f"{what}: {text!r} is neither true nor false")
            return text.lower() in _YES
        case "enum":
            return word(shape, text, what)
        case "ref":
            return NULL if text in ("", "null", NULL) and shape.nullable else find(shape.to, text)
        case "set":
            return [parse(shape.parts[0], part, what, find) for part in _parts(text, what)]
        case "map":
            return dict(pair(shape, *_halves(part, what), what, find) for part in _parts(text, what))
    try:
        return json.loads(text)
    except ValueError:
        raise Misused(f"{what}: {text!r} is no JSON, which a {shape.name} is given as") from None


def check(word: Word, text: str) -> None:
    """Misused for a text that cannot be of this type, as far as that is certain without the agent."""
    parse(word.shape, text, word.label, lambda class_name, name: NULL)


def pair(shape: Shape, name: str, text: str, what: str, find: Find) -> tuple[Any, Any]:
    """One member of a map, as it is sent."""
    return parse(shape.parts[0], name, what, find), parse(shape.parts[1], text, f"{what}:{name}", find)


def word(shape: Shape, text: str, what: str) -> str:
    """A word of an enum, in any spelling."""
    found = next((each for each in shape.words if key(each) == key(text)), None)
    if found is None:
        raise Misused(f"{what}: {text!r} is none of {', '.join(shape.words)}{meant(text, shape.words)}")
    return found


def _integer(text: str, what: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None or len(text) > 30:
        raise Misused(f"{what}: {text!r} is no whole number, such as 3 or 8GiB")
    number, power, _ = match.groups()
    return int(number) << (10 * _POWERS[power.lower()] if power else 0)


def _parts(text: str, what: str) -> Sequence[str]:
    """The elements of a set: by commas, or a JSON array where one has a comma itself."""
    if not text.startswith("["):
        return text.split(",") if text else ()
    try:
        return [str(part) for part in json.loads(text)]
    except ValueError:
        raise Misused(f"{what}: {text!r} is no JSON array") from None


def _halves(text: str, what: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Misused(f"{what}: {text!r} is no key=value; or write {what}:key=value")
    return name, value


# --- towards the reader


def uuid(ref: str) -> str:
    """The uuid of a reference, which is a part of it; empty for the null reference."""
    return "" if ref in ("", NULL) else ref.removeprefix("OpaqueRef:")


def show(shape: Shape, value: Any) -> str:
    """A value as xe writes it: references as uuids, ``a; b`` for sets, ``key: value; ...`` for maps."""
    match shape.kind, value:
        case "ref", str():
            return uuid(value)
        case "bool", bool():
            return "true" if value else "false"
        case "enum", str():
            return value.lower() if shape.name in LOWER else value
        case "float", int() | float():
            return f"{value:.3f}"
        case "set", list():
            return "; ".join(show(shape.parts[0], item) for item in value)
        case "map", dict():
            key_shape, value_shape = shape.parts
            return "; ".join(f"{show(key_shape, name)}: {show(value_shape, item)}" for name, item in value.items())
        case _, str():
            return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def plain(shape: Shape, value: Any) -> Any:
    """A value for programs: as JSON has it, with references as uuids and null for the null reference."""
    match shape.kind, value:
        case "ref", str():
            return uuid(value) or None
        case "int", str():
            return int(value)
        case "void", _:
            return None
        case "set", list():
            return [plain(shape.parts[0], item) for item in value]
        case "map", dict():
            key_shape, value_shape = shape.parts
            return {show(key_shape, name): plain(value_shape, item) for name, item in value.items()}
    return value
