"""The lab, and the agent in it as an admin would have it there: installed in dom0, run by systemd, on xen:///system.

The lab is reached over ssh, the agent over the network like by any client. A lab that was up before the tests is used
as it is and stays up; one that was booted for them is ended with them. Workers of pytest-xdist have one each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.cli import run_folder
from lab.dom0 import Dom0
from lab.emulator import Emulator
from lab.progress import CannotEmulate, LabError
from tests.xen.installed import PASSWORD, PATIENCE_SECONDS, USER, InstalledAgent, wait_until
from tests.xen.machines import Machine, Workshop
from tests.xen.sharing import Groups, place

PROJECT = Path(__file__).parent.parent.parent
PROBE_SECONDS = 120.0
MINUTES = float(given) if (given := os.environ.get("XEN_HOST_AGENT_LAB_MINUTES")) else None
"""How long cases are begun; None until all were."""
TIME_IS_OVER = f"the {MINUTES} minutes that this run was given are over"
STANDSTILL = "the emulated machine stands still: dom0 answers nobody, and no processor does anything (docs/xen.md)"
GUEST_STANDSTILL = "a guest stands still: Xen lets it run, and it has not for half a minute, not even for its clock"
GUEST_TRIPLE_FAULT = "the emulated processor of a guest gave up, as Xen tells: a triple fault (docs/xen.md)"
STANDSTILL_SECONDS = 30.0
LAB = PROJECT / "lab" / "lab"
CONFIGURATION = """
connect = "xen:///system"
listen = ["unix:/run/xen-host-agent/socket", "https://0.0.0.0:8443"]

[log]
level = "debug"
"""


def pytest_configure(config: pytest.Config) -> None:
    """Give each of several workers, where the tests are shared out among such, a lab of its own."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        os.environ["XEN_HOST_AGENT_LAB_RUN"] = f"{run_folder()}-{worker}"
    else:
        config.pluginmanager.register(FailuresAtOnce(config))


@dataclass(frozen=True)
class FailuresAtOnce:
    """Tells of each failure when it happens, in a line: the whole of them may be an hour away."""

    config: pytest.Config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self.config.pluginmanager.getplugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.ensure_newline()
            terminal.write_line(f"{report.nodeid}: {report.longreprtext.strip().splitlines()[-1]}", red=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test here the time that emulation takes, its share of the boot included; those that take long come
    first.
    """
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in here:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(3 * PATIENCE_SECONDS))
    items.sort(key=lambda item: place(item.nodeid, hurried=MINUTES is not None) if item in here else -1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Have those that belong together run in one lab."""
    return Groups(config, log)


BEGUN = time.monotonic()
STOPPED: set[Path] = set()
"""The labs in which nothing will ever happen again."""
TRIPLE_FAULTS: deque[int] = deque(maxlen=2)
"""How many there were when the case before this one began, and when this one did: a guest whose processor gave up at
the end of the former may not be back yet.
"""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin nothing after the time there is, and lose no hour on what is left for a lab that has stopped."""
    if MINUTES is not None and time.monotonic() - BEGUN > 60 * MINUTES:
        pytest.skip(TIME_IS_OVER)
    if run_folder() in STOPPED and "dom0" in getattr(item, "fixturenames", ()):
        pytest.skip(STANDSTILL)
    TRIPLE_FAULTS.append(Emulator(run_folder()).triple_faults())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A case that failed because the emulation stopped for good, of dom0 or of a guest, or because a guest's processor
    gave up, says nothing of the agent.
    """
    report = yield
    if report.failed and "dom0" in getattr(item, "fixturenames", ()) and (reason := _fault_of_the_emulation()):
        report.outcome, report.longrepr = "skipped", (str(item.path), 0, reason)
    return report


def _fault_of_the_emulation() -> str | None:
    folder = run_folder()
    if _has_stopped(folder):
        STOPPED.add(folder)
        return STANDSTILL
    if Emulator(folder).triple_faults() > TRIPLE_FAULTS[0]:
        return GUEST_TRIPLE_FAULT
    with suppress(LabError):  # a lab that is gone has no guests
        if end_guests_that_stand_still(Dom0.read(folder)):
            return GUEST_STANDSTILL
    return None


def _has_stopped(folder: Path) -> bool:
    try:
        answer = Dom0.read(folder).run("true", check=False, timeout_seconds=PROBE_SECONDS)
        return answer.returncode != 0 and Emulator(folder).stands_still()
    except LabError:
        return Emulator(folder).stands_still()


def end_guests_that_stand_still(dom0: Dom0) -> bool:
    """Destroy the guests whose timer the emulation lost, so that the next cases boot theirs anew; whether any had."""
    before = _guest_times(dom0)
    if before:
        time.sleep(STANDSTILL_SECONDS)
    standing = before.items() & _guest_times(dom0).items()
    for domid, _ in standing:
        dom0.run(f"xl destroy {domid}")
    return bool(standing)


def _guest_times(dom0: Dom0) -> dict[str, str]:
    """The processor time of each guest that may run, as Xen has it: one that lives takes some for its clock alone."""
    listed = [line.rsplit(None, 5) for line in dom0.run("xl list").stdout.splitlines()[2:]]
    return {domid: seconds for _, domid, _, _, state, seconds in listed if state[2:] == "----"}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """In one line, what was tried here and how it went."""
    counts = {how: len(terminalreporter.getreports(how)) for how in ("passed", "failed", "error", "skipped")}
    late = sum(TIME_IS_OVER in str(report.longrepr) for report in terminalreporter.getreports("skipped"))
    counts |= {"skipped": counts["skipped"] - late, f"left out, for {TIME_IS_OVER}": late}
    told = ", ".join(f"{count} {how}" for how, count in counts.items() if count)
    terminalreporter.write_line(f"On a real Xen, the agent as a service in dom0: {told or 'nothing was run'}.")


@pytest.fixture(scope="session")
def dom0(request: pytest.FixtureRequest) -> Iterator[Dom0]:
    """A running lab. Tests are skipped, with the reason, where this machine cannot emulate one."""
    with _lab(request, run_folder()) as lab:
        yield lab


@pytest.fixture
def other_dom0(request: pytest.FixtureRequest) -> Iterator[Dom0]:
    """A lab that nobody else uses, for a test that boots its dom0 or leaves it changed."""
    with _lab(request, Path(f"{run_folder()}-other")) as lab:
        yield lab


@contextmanager
def _lab(request: pytest.FixtureRequest, folder: Path) -> Iterator[Dom0]:
    was_up = Emulator(folder).pid() is not None
    place = {**os.environ, "XEN_HOST_AGENT_LAB_RUN": str(folder)}
    with _progress_shown(request):
        booted = subprocess.run([LAB, "up"], env=place, stdout=subprocess.DEVNULL, check=False)
    if booted.returncode == CannotEmulate.exit_code:
        pytest.skip("this machine cannot emulate the lab, for the reason that `lab/lab up` gave above")
    assert booted.returncode == 0, "the lab does not boot; what it said is above"
    try:
        yield Dom0.read(folder)
    finally:
        if not was_up:
            with _progress_shown(request):
                subprocess.run([LAB, "stop"], env=place, check=True)


@contextmanager
def _progress_shown(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the lab says goes to the terminal at once: it may take minutes."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        yield
    else:
        with capture.global_and_fixture_disabled():
            print(file=sys.stderr)
            yield


@pytest.fixture(scope="session")
def agent(dom0: Dom0, tmp_path_factory: pytest.TempPathFactory) -> InstalledAgent:
    """This checkout, installed in dom0 and running as a service; it answers."""
    wheel = _wheel_of_this_checkout(tmp_path_factory.mktemp("wheel"))
    dom0.put(wheel, f"/root/{wheel.name}")
    dom0.put(PROJECT / "systemd" / "xen-host-agent.service", "/etc/systemd/system/xen-host-agent.service")
    dom0.run("mkdir -p /etc/xen-host-agent && cat >/etc/xen-host-agent/config.toml", input=CONFIGURATION)
    # The environment and all that the agent needs are in the image; see docs/xen.md for the same from nothing.
    dom0.run(
        "set -e; systemctl stop xen-host-agent 2>/dev/null || true; rm -rf /var/lib/xen-host-agent; "
        "/opt/xen-host-agent/bin/pip install --quiet --no-deps --no-index --force-reinstall --root-user-action ignore "
        f"/root/{wheel.name}; "
        "ln -sf /opt/xen-host-agent/bin/xen-host-agent /usr/bin/xen-host-agent"
    )
    dom0.run(f"xen-host-agent user add {USER}", input=f"{PASSWORD}\n")
    dom0.run("systemctl daemon-reload && systemctl start xen-host-agent || (systemctl status xen-host-agent; exit 1)")
    installed = InstalledAgent(dom0, f"https://127.0.0.1:{dom0.agent_port}")
    wait_until(installed.answers, "one can log in to the agent's service")
    return installed


def _wheel_of_this_checkout(folder: Path) -> Path:
    """Built from a copy: in the checkout, setuptools would leave a folder that goes stale, and build from that."""
    source = folder / "source"
    source.mkdir()
    for name in ("agent", "drivers"):
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def workshop(agent: InstalledAgent) -> Iterator[Workshop]:
    """Where machines are made through the API; those that are left at the end are removed."""
    with agent.session() as session:
        workshop = Workshop(agent, session).prepare()
        yield workshop
        workshop.close()


@pytest.fixture(scope="session")
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of guest; tests are grouped by it, so that one guest at a time needs the processors."""
    return str(request.param)


@pytest.fixture(scope="session")
def shared_machine(workshop: Workshop, kind: str) -> Iterator[Machine]:
    """One machine of the kind for all tests of it: booting is what costs. It may have a second VCPU."""
    machine = workshop.make(kind, VCPUs_max="2", actions_after_crash="restart")
    machine.add_disk()
    machine.add_drive()
    yield machine
    machine.remove()


@pytest.fixture
def machine(shared_machine: Machine) -> Machine:
    """The machine of the kind, running, its guest answering."""
    return shared_machine.bring_up()


@pytest.fixture
def halted_machine(shared_machine: Machine) -> Machine:
    """The machine of the kind, halted."""
    return shared_machine.halt()
