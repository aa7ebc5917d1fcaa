"""Every error that the agent declares is raised somewhere: found on the syntax trees, without running anything."""

from __future__ import annotations

import ast
from pathlib import Path

from agent import errors

ROOT = Path(__file__).parents[2]


def names_used() -> set[str]:
    """Names that are called or raised anywhere but where they are declared."""
    used: set[str] = set()
    for package in ("agent", "drivers"):
        for path in (ROOT / package).rglob("*.py"):
            if path == ROOT / "agent" / "errors.py":
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                made = node.func if isinstance(node, ast.Call) else node.exc if isinstance(node, ast.Raise) else None
                if isinstance(made, ast.Name):
                    used.add(made.id)
                elif isinstance(made, ast.Attribute):
                    used.add(made.attr)
    return used


def test_every_error_is_raised_somewhere() -> None:
    declared = {error.__name__ for error in errors.XenError.__subclasses__() if error.__module__ == errors.__name__}
    assert declared - names_used() == set()
    assert len(declared) > 40
