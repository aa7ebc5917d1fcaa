"""Where the configuration comes from: the file, ``conf.d/*.toml`` beside it, the environment. What the keys mean,
``config`` decides.

A later source replaces a key of an earlier one: first the file, then those of ``conf.d`` in the order of their names,
then the environment. Every value keeps the place it came from, so that a complaint can name file and line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "XEN_HOST_AGENT__"
"""``XEN_HOST_AGENT__LOG__LEVEL`` is ``log.level``. Two underscores, for with one the client's variables begin."""
FOLDER = "conf.d"


class Unreadable(Exception):
    """A source that cannot be read; the text names it, and the line where there is one."""


@dataclass(frozen=True, slots=True)
class Given:
    """The value of one key, and where it was given."""

    name: str
    value: Any
    where: str


class TomlFile:
    """One file of TOML: its keys by dotted names, each with the line where it begins. Unreadable if it is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._text = path.read_bytes().decode()
            self._table = tomllib.loads(self._text)
        except FileNotFoundError:
            raise Unreadable(f"{path}: there is no such file") from None
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"\(at line (\d+)", str(error))
            line = f":{found[1]}" if found else ""
            raise Unreadable(f"{path}{line}: {error}") from None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise Unreadable(f"{path}: {reason}") from None

    def given(self, tables: frozenset[str]) -> Iterator[Given]:
        """All keys. `tables` are the sections there are: an empty one of another name is a key as well."""
        for name, value in _flat(self._table, tables):
            yield Given(name, value, f"{self.path}:{self.line(name)}")

    def line(self, name: str) -> int:
        """The line on which the statement begins that gives the key.

        TOML's reader tells no places. But the file up to the end of a statement is TOML too, so the key's statement
        ends with the first lines that have it, and begins where the longest shorter ones end.
        """
        lines = self._text.split("\n")
        begin = 1
        for count in range(1, len(lines) + 1):
            try:
                table = tomllib.loads("\n".join(lines[:count]) + "\n")
            except tomllib.TOMLDecodeError:  # in the middle of a value of several lines
                continue
            if _has(table, name):
                return begin
            begin = count + 1
        return 1


def files(path: Path, *, must_exist: bool) -> list[TomlFile]:
    """The file and those of ``conf.d`` beside it. Unreadable if one cannot be read, or the first must be and is not."""
    found = [TomlFile(path)] if must_exist or path.exists() else []
    folder = path.parent / FOLDER
    try:
        beside = sorted(folder.glob("*.toml")) if folder.is_dir() else []
    except OSError as error:
        raise Unreadable(f"{folder}: {error.strerror}") from None
    return [*found, *map(TomlFile, beside)]


def environment(variables: Mapping[str, str]) -> Iterator[Given]:
    """The keys that the environment gives. A value is read as TOML where it is one, else it is a string."""
    for variable, text in sorted(variables.items()):
        if variable.startswith(PREFIX):
            name = variable.removeprefix(PREFIX).replace("__", ".").lower()
            yield Given(name, _value(text), f"the environment's {variable}")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _flat(table: Mapping[str, Any], tables: frozenset[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of a table by their dotted names."""
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, tables, f"{prefix}{name}.")
        elif not isinstance(value, dict) or f"{prefix}{name}" not in tables:
            yield f"{prefix}{name}", value


def _has(table: Mapping[str, Any], name: str) -> bool:
    """Whether the table has the key of this dotted name; a part may have dots itself, where it was quoted."""
    return any(
        key == name or (isinstance(value, dict) and name.startswith(f"{key}.") and _has(value, name[len(key) + 1 :]))
        for key, value in table.items()
    )
