"""What the README says is what the tree has: the map, the deviations, the example and the commands."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent import cli
from agent.classes.deviations import DEVIATIONS
from agent.roles import Role
from agent.users import Users
from tests.xen import works

ROOT = Path(__file__).parents[1]
MAP_COLUMNS = 26
README = (ROOT / "README.md").read_text("utf-8")


def section(name: str) -> str:
    """What stands between the markers of this name."""
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- end of {name} -->", README, re.DOTALL)
    assert found is not None, f"the README has no section between <!-- {name} --> and <!-- end of {name} -->"
    return found[1]


def mapped() -> list[str]:
    """The paths of the map. Names stand in its first columns, indented by two under their folder."""
    paths: list[str] = []
    folder = ""
    for line in section("map").strip("`\n").splitlines():
        names = line[:MAP_COLUMNS].split()
        if not line.startswith(" "):
            folder = names[0]
            paths.append(folder.rstrip("/"))
        else:
            paths += [f"{folder}{name.rstrip('/')}" for name in names]
    return paths


def test_everything_on_the_map_exists() -> None:
    assert [path for path in mapped() if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("package", ["agent", "drivers"])
def test_every_module_is_on_the_map_or_in_a_folder_that_is(package: str) -> None:
    known = set(mapped())
    there = [path.relative_to(ROOT) for path in sorted((ROOT / package).rglob("*.py")) if path.name != "__init__.py"]
    assert [str(path) for path in there if str(path if len(path.parts) == 2 else path.parent) not in known] == []


def test_the_deviations_are_those_of_the_code() -> None:
    rows = "".join(f"| `{what}` | {why} |\n" for what, why in DEVIATIONS.items())
    assert section("deviations") == f"\n| what | how and why |\n| --- | --- |\n{rows}\n"


def test_the_table_of_real_xen_is_the_one_that_its_tests_hold_to() -> None:
    assert section("xen") == "\n" + "\n".join(works.table()) + "\n\n"


def test_each_row_of_that_table_has_its_tests() -> None:
    for module in sorted((ROOT / "tests" / "xen").glob("test_*.py")):
        importlib.import_module(f"tests.xen.{module.stem}")  # which notes what it tests
    assert set(works.OPERATIONS) == works.WORKING
    assert {name for name, without in works.OPERATIONS.items() if without} == works.REFUSED


def test_every_command_is_in_the_readme() -> None:
    commands = next(action.choices for action in cli.parser()._actions if action.dest == "command")
    assert [name for name in commands or () if f"xen-host-agent {name}" not in README] == []


def test_the_example_runs(tmp_path: Path) -> None:
    Users(tmp_path / "users.json").add("root", "word", Role.POOL_ADMIN)
    serve = ["serve", "--config", "/dev/null", "--connect", "test:///default", "--listen", "http://127.0.0.1:0"]
    with subprocess.Popen(
        [sys.executable, "-m", "agent", *serve, "--state", str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as agent:
        try:
            assert agent.stdout is not None
            url = agent.stdout.readline().removeprefix("listening on ").strip()
            example = section("example").replace("```python", "").replace("```", "")
            program = example.replace("http://127.0.0.1:8086", url).replace("PASSWORD", "word")
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        finally:
            agent.terminate()
    assert done.stderr == ""
    running, refused = done.stdout.splitlines()
    assert running == "Running"
    assert re.fullmatch(r"\['VM_BAD_POWER_STATE', 'OpaqueRef:[0-9a-f-]{36}', 'halted', 'running'\]", refused)


def test_every_link_to_a_file_leads_to_one() -> None:
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
