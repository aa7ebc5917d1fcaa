"""The contracts of all ports (``tests/contract``), run in dom0 on its own Xen: each case there is a case here.

A file of them is run as a whole when the first of its cases is due, of which pytest in dom0 leaves a report.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lxml import etree

from lab.cli import run_folder
from lab.dom0 import Dom0
from tests.contract.real_xen import NOT_ON_XEN
from tests.xen.conftest import PROJECT
from tests.xen.installed import PATIENCE_SECONDS
from tests.xen.sharing import CPU_POOLS

ON_XEN = {"XEN_HOST_AGENT_CONTRACT": "xen:///system"}
FOLDER = "tests/contract/"
PLACE = "/root/contract"
"""Of this checkout in dom0."""
FILE_SECONDS = 5400.0
"""A file has a hundred cases, and an emulated machine on busy processors takes a minute for many of them."""

pytestmark = pytest.mark.timeout(2 * FILE_SECONDS)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One case for each of the contracts'."""
    if "case" in metafunc.fixturenames:
        cases = collected()
        metafunc.parametrize("case", cases, ids=[case.removeprefix(FOLDER) for case in cases])


def collected() -> list[str]:
    """The names of all cases, as pytest has them on Xen; collecting them needs none."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-o", "addopts=", "-p", "no:cacheprovider", "--collect-only", "-q", FOLDER],
        cwd=PROJECT,
        env=os.environ | ON_XEN,
        capture_output=True,
        text=True,
        check=False,
    )
    cases = [line for line in done.stdout.splitlines() if line.startswith(FOLDER) and "::" in line]
    assert done.returncode == 0, done.stdout + done.stderr
    assert cases
    return cases


@dataclass
class Outcome:
    """What a case came to."""

    problems: list[str] = field(default_factory=list)
    skipped: str = ""
    """Why it was left out."""


@dataclass
class Contract:
    """The contracts in dom0, and what came of the files of them that were run."""

    dom0: Dom0
    chosen: list[str]
    """The cases that this session is to run."""
    _outcomes: dict[str, Outcome] = field(default_factory=dict)
    _ends: dict[str, str] = field(default_factory=dict)
    """The last words of each file's run."""

    def outcome(self, case: str) -> Outcome:
        """Of one case, whose file is run if it was not yet."""
        file = case.partition("::")[0]
        if file not in self._ends:
            self._run(file)
        return self._outcomes.get(case, Outcome([f"it was not run, or did not end:\n{self._ends[file]}"]))

    def _run(self, file: str) -> None:
        report = f"{PLACE}/report.xml"
        cases = [case for case in self.chosen if case.startswith(f"{file}::")]
        setting = " ".join(f"{name}={value}" for name, value in ON_XEN.items())
        command = [
            *("/opt/tests/bin/python", "-m", "pytest", "-p", "no:cacheprovider", "--tb=short"),
            *("-o", f"timeout={2 * PATIENCE_SECONDS:.0f}", f"--junitxml={report}", *cases),
        ]
        done = self.dom0.run(
            f"cd {PLACE} && rm -f {report} && {setting} {shlex.join(command)}",
            check=False,
            timeout_seconds=FILE_SECONDS,
        )
        self._ends[file] = (done.stdout + done.stderr)[-5000:]
        written = self.dom0.run(f"cat {report}", check=False).stdout
        for entry in etree.fromstring(written.encode()).iter("testcase") if written else ():
            name = f"{entry.get('classname', '').replace('.', '/')}.py::{entry.get('name')}"
            outcome = self._outcomes.setdefault(name, Outcome())
            outcome.problems += [problem.text or "" for tag in ("failure", "error") for problem in entry.iter(tag)]
            outcome.skipped = next((left_out.get("message", "") for left_out in entry.iter("skipped")), "")


@pytest.fixture(scope="module")
def contract(
    request: pytest.FixtureRequest, dom0: Dom0, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Contract]:
    """This checkout in dom0, where the agent's service, if it runs, stands aside."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("agent", "drivers", "tests"):
        shutil.copytree(PROJECT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "xen"))
    shutil.copy(PROJECT / "pyproject.toml", checkout)
    dom0.run(f"rm -rf {PLACE}")
    dom0.put(checkout, PLACE)
    stop = "systemctl is-active --quiet xen-host-agent && systemctl stop xen-host-agent"
    service_ran = dom0.run(stop, check=False).returncode == 0
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    yield Contract(dom0, [str(item.callspec.params["case"]) for item in items if item.path == Path(__file__)])
    if service_ran:
        dom0.run("systemctl start xen-host-agent")


def panic_of_xen() -> str:
    """What the hypervisor said when it panicked; empty if it did not."""
    said = (run_folder() / "serial.log").read_text(errors="replace")
    _, panicked, after = said.partition("Panic on CPU")
    return f"{panicked}{after.splitlines()[0]} {after.splitlines()[1]}".replace("(XEN)", "") if panicked else ""


def test_contract(case: str, contract: Contract) -> None:
    outcome = contract.outcome(case)
    if outcome.problems and CPU_POOLS in case and (panic := panic_of_xen()):
        pytest.skip(f"Xen itself did not survive it: {panic}")
    if outcome.problems:
        pytest.fail("\n\n".join(outcome.problems), pytrace=False)
    if outcome.skipped:
        assert outcome.skipped in NOT_ON_XEN.values(), f"it may not be left out: {outcome.skipped}"
        pytest.skip(outcome.skipped)
