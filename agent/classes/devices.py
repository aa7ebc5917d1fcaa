"""How many disks and cards a guest can have, and how the disks are called: ``0`` and ``xvda`` are the same place. Pure
text; no objects.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"(?:xvd|hd|sd|vd|fd)([a-z]{1,2})[0-9]*", re.ASCII)
PLACES = 255
"""Disks that a guest can have, by number."""
CARDS = 7
"""Cards that a guest can have."""


def number_of(device: str) -> int | None:
    """The place of a device name or number: ``xvdb``, ``hdb`` and ``1`` are 1. None for what is neither."""
    if device.isascii() and device.isdecimal():
        return int(device) if len(device) < 6 else None
    match = _NAME.fullmatch(device)
    if match is None:
        return None
    letters = match[1]
    number = ord(letters[-1]) - ord("a")
    return number if len(letters) == 1 else (ord(letters[0]) - ord("a") + 1) * 26 + number


def place_of(device: str) -> str:
    """The place as text, by which two names of one disk are told from names of two. A partition's name (``xvda1``),
    which a disk of a PV guest may have, is a place of its own, and so is one beyond those that have a number.
    """
    number = None if device[-1:].isdecimal() and not device.isdecimal() else number_of(device)
    return device if number is None or number >= PLACES else str(number)


def name_of(number: int, prefix: str = "xvd") -> str:
    """The device name of a place."""
    letters = chr(ord("a") + number % 26)
    return prefix + (letters if number < 26 else chr(ord("a") + number // 26 - 1) + letters)
