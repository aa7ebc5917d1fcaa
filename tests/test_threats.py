"""Every threat and fault of docs/security.md has its tests, or a sentence there why it has none; and what a test names
stands there.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import TRIED

ROOT = Path(__file__).parents[1]
COUNTS = {"threat": 28, "fault": 21}
LETTERS = {"threat": "T", "fault": "F"}
WITHOUT = re.compile(r"(?:Not tried|Does not apply): \S")
"""How a row says that there is no test; the reason follows."""


def rows() -> dict[str, str]:
    """What docs/security.md says of each threat and fault: the last column of its row."""
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    return {found[1]: found[2] for found in re.finditer(r"^\| ([TF]\d+) \|.*\| ([^|]+) \|$", text, re.MULTILINE)}


def marked() -> Mapping[str, Mapping[str, set[str]]]:
    """The tests of each threat and fault, by the kind of their marker; read from the files, so that all are seen."""
    found: dict[str, dict[str, set[str]]] = {kind: defaultdict(set) for kind in COUNTS}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            for mark in node.decorator_list:
                if (
                    isinstance(mark, ast.Call)
                    and (kind := ast.unparse(mark.func).removeprefix("pytest.mark.")) in found
                ):
                    for argument in mark.args:
                        found[kind][ast.literal_eval(argument)].add(f"{path.relative_to(ROOT)}::{node.name}")
    return found


@pytest.mark.parametrize("kind", COUNTS)
def test_each_has_its_tests_or_a_reason_for_none(kind: str, request: pytest.FixtureRequest) -> None:
    wanted = {f"{LETTERS[kind]}{number}" for number in range(1, COUNTS[kind] + 1)}
    told = {name: text for name, text in rows().items() if name[0] == LETTERS[kind]}
    assert set(told) == wanted, "docs/security.md has a row for each"
    tried = marked()[kind]
    assert set(tried) - wanted == set(), "tests name what there is not"
    explained = {name for name, text in told.items() if WITHOUT.match(text)}
    assert wanted - set(tried) - explained == set(), "these are neither tried nor explained"
    assert explained & set(tried) == set(), "these are tried, and docs/security.md says that they are not"
    request.config.stash.setdefault(TRIED, {})[kind] = (len(tried), COUNTS[kind], len(explained))
