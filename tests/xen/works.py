"""What works on a real Xen, for each kind of guest: README's table, and what the tests of this folder hold it to.

A row without a test is an error (tests/test_readme.py), and so is a test that names no row. A cell that is not empty
says why the operation is refused or of no use for this kind of guest; then a test shows that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

KINDS = ("pv", "pvh", "hvm")
"""VM.domain_type of each kind of guest."""

OPERATIONS: Mapping[str, Mapping[str, str]] = {
    "create, start": {},
    "start paused, unpause": {},
    "start with all disks or not at all": {},
    "pause, unpause": {},
    "suspend to disk, resume": {},
    "clean shutdown": {},
    "clean reboot": {},
    "hard shutdown": {},
    "hard reboot": {},
    "reboot from inside": {},
    "power off from inside": {},
    "crash: destroy": {},
    "crash: restart": {},
    "crash: preserve": {},
    "crash: coredump, then destroy or restart": {},
    "boot by pygrub": {"hvm": "its firmware boots it"},
    "console text": {},
    "VNC": {"pv": "has no graphics", "pvh": "has no graphics"},
    "plug and unplug a disk": {},
    "plug and unplug a card": {},
    "insert and eject a CD": {
        "pv": "it has no drive, and QEMU 7.2 serves no file read-only",
        "pvh": "it has no drive, and QEMU 7.2 serves no file read-only",
    },
    "add a VCPU": {},
    "take a VCPU": {"hvm": "the guest is asked and may keep it"},
    "memory by ballooning": {},
    "weight and cap": {},
    "limit a card's rate": {},
}

WORKING: set[str] = set()
"""The operations that a test shows working."""
REFUSED: set[str] = set()
"""Those of which a test shows what happens where they do not."""


def operation(*names: str) -> pytest.MarkDecorator:
    """For a test that shows, with a `machine` of the kind, that these operations work on each kind that has them."""
    [kinds] = {tuple(kind for kind in KINDS if kind not in OPERATIONS[name]) for name in names}
    WORKING.update(names)
    return pytest.mark.parametrize("kind", kinds, indirect=True)


def refusal(name: str) -> pytest.MarkDecorator:
    """For a test that shows what happens on the other kinds."""
    REFUSED.add(name)
    return pytest.mark.parametrize("kind", list(OPERATIONS[name]), indirect=True)


def table() -> Sequence[str]:
    """README's lines."""
    rows = [f"| {name} | " + " | ".join(_cell(name, kind) for kind in KINDS) + " |" for name in OPERATIONS]
    return [f"| operation | {' | '.join(kind.upper() for kind in KINDS)} |", "| --- " * 4 + "|", *rows]


def _cell(name: str, kind: str) -> str:
    return f"no: {OPERATIONS[name][kind]}" if kind in OPERATIONS[name] else "yes"
