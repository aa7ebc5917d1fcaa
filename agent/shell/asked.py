"""What was asked for: the words after a command, taken apart, and what is said of those that cannot be meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from agent.shell.words import key


class Misused(Exception):
    """The command line cannot be meant so: exit code 2."""


def meant(given: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or nothing."""
    by_key = {key(name): name for name in known}
    close = difflib.get_close_matches(key(given), by_key, 2)
    return f"; did you mean {' or '.join(repr(by_key[each]) for each in close)}?" if close else ""


@dataclass(frozen=True)
class Given:
    """One word of a command line: ``key=text``, or ``key:part=text``."""

    key: str
    part: str | None
    text: str


def given(words: Iterable[str]) -> list[Given]:
    """The words of a command line, taken apart. Misused for one that is no ``key=value``."""
    result = []
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise Misused(f"{word!r} is no parameter: write name=value")
        name, colon, part = name.partition(":")
        result.append(Given(name, part if colon else None, text))
    return result


def taken(words: list[Given], name: str, default: str | None = None) -> str | None:
    """The text given for a name, in any spelling, which is taken out of `words`. Misused if it stands there twice."""
    found = [each for each in words if key(each.key) == key(name) and each.part is None]
    if len(found) > 1:
        raise Misused(f"{name} is given twice")
    if not found:
        return default
    words.remove(found[0])
    return found[0].text


def nothing_else(words: Iterable[Given], known: Iterable[str]) -> None:
    """Misused for a word that nobody took."""
    names = sorted(known)
    for each in words:
        hint = meant(each.key, names) or f"; what it takes: {', '.join(names)}" if names else "; it takes none"
        raise Misused(f"there is no parameter {each.key!r} here{hint}")
