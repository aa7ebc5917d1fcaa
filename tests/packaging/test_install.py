"""``make install`` and ``make uninstall``, under DESTDIR."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent import __version__
from tests.packaging.conftest import PROJECT


def make(target: str, folder: Path, init: str) -> str:
    command = [
        "make",
        "--no-print-directory",
        target,
        f"DESTDIR={folder}",
        "PREFIX=/opt/agent",
        f"PYTHON={sys.executable}",
    ]
    done = subprocess.run(
        [*command, "LIBVIRT=system", f"INIT={init}"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(folder: Path) -> set[str]:
    """The files under it, but for the program's own."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    return {path for path in found if not path.startswith("opt/agent/lib/xen-host-agent/")}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("init", ["systemd", "openrc"])
def test_what_is_installed_runs_and_goes_again_but_for_what_is_the_admins(tmp_path: Path, init: str) -> None:
    make("install", tmp_path, init)
    services = {
        "openrc": {"etc/init.d/xen-host-agent", "etc/init.d/xen-host-agent-guests"},
        "systemd": {
            *(f"opt/agent/lib/systemd/system/{path.name}" for path in (PROJECT / "systemd").glob("*.s[eo][rc][vk]*")),
            "opt/agent/lib/sysusers.d/xen-host-agent.conf",
            "opt/agent/lib/tmpfiles.d/xen-host-agent.conf",
        },
    }[init]
    kept = {"etc/xen-host-agent/config.toml", "etc/pam.d/xen-host-agent"}
    shared = {name for name in files(tmp_path) if name.startswith("opt/agent/share/")}
    assert {name.rpartition("/")[2] for name in shared} >= {
        "xen-host-agent.8",
        "_xen-host-agent",
        "xen-host-agent.fish",
    }
    assert files(tmp_path) == services | kept | shared | {"opt/agent/bin/xen-host-agent"}
    for name in services:
        assert "/usr/bin/xen-host-agent" not in (tmp_path / name).read_text()

    command = tmp_path / "opt/agent/bin/xen-host-agent"
    assert '"/opt/agent/lib/xen-host-agent"' in command.read_text()
    moved = command.read_text().replace('"/opt/agent', f'"{tmp_path}/opt/agent')  # as if DESTDIR were the root
    done = subprocess.run([sys.executable, "-I", "-c", moved, "--version"], capture_output=True, text=True, check=False)
    assert done.stdout == f"xen-host-agent {__version__}\n", done.stderr

    (tmp_path / "etc/xen-host-agent/config.toml").write_text("# mine")
    make("install", tmp_path, init)
    assert (tmp_path / "etc/xen-host-agent/config.toml").read_text() == "# mine"
    assert "kept: " in make("uninstall", tmp_path, init)
    assert files(tmp_path) == kept
    assert not (tmp_path / "opt/agent/lib/xen-host-agent").exists()
