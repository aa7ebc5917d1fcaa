"""What the clients are tried on: the daemon, as in ``tests/front_door``, and where ``make test-clients`` put them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.front_door.conftest import Daemon, within

__all__ = ["within"]  # a fixture

HERE = Path(__file__).parent
FETCHED = HERE.parent.parent / "var" / "clients"
PATIENCE_SECONDS = 300.0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """In one line a client, what was tried and how it went."""
    counts: dict[str, dict[str, int]] = {}
    for how in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.getreports(how):
            path, _, _ = report.nodeid.partition("::")
            if HERE.name in Path(path).parts:
                of_client = counts.setdefault(Path(path).stem.removeprefix("test_"), {})
                of_client[how] = of_client.get(how, 0) + 1
    for client, found in counts.items():
        terminalreporter.write_line(f"{client}: {', '.join(f'{count} {how}' for how, count in found.items())}")


def _daemon(factory: pytest.TempPathFactory, configuration: str = "") -> Iterator[Daemon]:
    # The path of a socket that the XenAPI package can write as a host: it has no underscore.
    state = factory.mktemp("state")
    socket = state / "socket"
    started = Daemon(state, listen=("http://127.0.0.1:0", f"unix:{socket}"), configuration=configuration)
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The agent as it comes, on libvirt's embedded test hypervisor."""
    yield from _daemon(tmp_path_factory)


@pytest.fixture(scope="module")
def cascading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The agent set for clients that rely on xapi's destroy."""
    yield from _daemon(tmp_path_factory, '[api]\ndestroy = "xapi"\n')


def run(command: list[str | Path], folder: Path, feed: str = "", **environment: str) -> str:
    """Run a client to its end, fed with this text; its output, which is shown where it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        input=feed,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def npm() -> Path:
    """The folder in which npm put its clients."""
    folder = FETCHED / "npm"
    if shutil.which("node") is None or not (folder / ".installed").exists():
        pytest.skip("the clients on npm are not here: make test-clients fetches them where there is an npm")
    return folder


@pytest.fixture(scope="session")
def ansible() -> Path:
    """The folder of Ansible's commands."""
    folder = FETCHED / "ansible"
    if not (folder / ".installed").exists():
        pytest.skip("Ansible is not here: make test-clients fetches it")
    return folder / "bin"
