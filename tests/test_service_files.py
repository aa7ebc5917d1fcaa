"""The files for service managers: what they start exists, how exposed the service is, and that every exception to
hardening has its reason.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from agent import cli, config

ROOT = Path(__file__).parents[1]
SYSTEMD = ROOT / "systemd"
SERVICE = SYSTEMD / "xen-host-agent.service"
GUESTS = SYSTEMD / "xen-host-agent-guests.service"
SOCKETS = sorted(SYSTEMD.glob("*.socket"))
EXPOSURE_MAX = 3.5


def needs(program: str) -> pytest.MarkDecorator:
    """Skips, saying what to install, where a program of systemd is missing."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not here: apt-get install systemd")


def unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """A unit's settings by section and name, each with all its values."""
    sections: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            sections.setdefault(section, {}).setdefault(name, []).append(value)
    return sections


def test_the_service_follows_libvirt_and_never_depends_on_it() -> None:
    settings = unit(SERVICE)
    assert settings["Unit"]["Wants"] == ["libvirtd.service"]
    assert "libvirtd.service" in settings["Unit"]["After"][0].split()
    assert not {"BindsTo", "Requires", "PartOf", "Requisite"} & settings["Unit"].keys()


def test_the_service_tells_its_state_and_is_begun_anew_on_failure() -> None:
    settings = unit(SERVICE)["Service"]
    assert settings["Type"] == ["notify"]
    assert int(settings["WatchdogSec"][0]) > 0
    assert settings["Restart"] == ["on-failure"]
    assert settings["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    # lvm2 writes there before each change, and calls modprobe, which finds no modules behind ProtectKernelModules.
    assert settings["ReadWritePaths"] == ["-/etc/lvm"]
    assert settings["ExecStartPre"] == ["+-modprobe -aq dm-snapshot dm-thin-pool"]


@needs("systemd-analyze")
def test_the_service_is_hardened() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(SERVICE)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"Overall exposure level for xen-host-agent\.service: ([\d.]+)", said)
    assert found is not None, said
    print(f"exposure of the service: {found[1]}")
    assert float(found[1]) <= EXPOSURE_MAX


LEFT_OPEN = """
    User PrivateDevices PrivateNetwork PrivateUsers ProtectSystem ProtectProc ProcSubset IPAddressDeny RemoveIPC
    RootDirectory AF_INET AF_INET6 AF_NETLINK char-misc block-* char-pts
"""


@pytest.mark.parametrize("left_open", LEFT_OPEN.split())
def test_what_is_left_open_has_its_reason(left_open: str) -> None:
    text = SERVICE.read_text()
    reasons = text[text.index("# What is left open") : text.index("[Install]")]
    assert left_open in reasons


def test_every_capability_has_its_reason() -> None:
    text = SERVICE.read_text()
    reasons = text[text.index("# What is left open") :]
    kept = unit(SERVICE)["Service"]["CapabilityBoundingSet"][0].split()
    assert [name for name in kept if not re.search(rf"{name}\b", reasons)] == []


@pytest.mark.parametrize("path", SOCKETS, ids=lambda path: path.name)
def test_a_socket_leads_to_the_service(path: Path) -> None:
    settings = unit(path)
    service = settings["Socket"].get("Service", [f"{path.stem}.service"])
    assert service == ["xen-host-agent.service"]
    assert path.name in unit(SERVICE)["Unit"]["After"][-1].split()
    # By the service too: systemd opens no further socket for a service that runs, so its restart is to open them.
    assert settings["Install"]["WantedBy"] == ["sockets.target xen-host-agent.service"]


def test_the_enabled_sockets_are_those_that_the_default_configuration_listens_on() -> None:
    listened = {f"unix:{unit(SYSTEMD / 'xen-host-agent.socket')['Socket']['ListenStream'][0]}"}
    listened.add(f"http://{unit(SYSTEMD / 'xen-host-agent-http.socket')['Socket']['ListenStream'][0]}")
    assert listened == set(config.Config().listen)


@needs("systemd-analyze")
@pytest.mark.parametrize("path", [SERVICE, GUESTS, *SOCKETS], ids=lambda path: path.name)
def test_systemd_finds_nothing_wrong_with_a_unit(path: Path, tmp_path: Path) -> None:
    for item in (SERVICE, GUESTS, *SOCKETS):  # together, since they name each other; with a command that is here
        text = item.read_text().replace("/usr/bin/xen-host-agent", "/bin/true")
        (tmp_path / item.name).write_text(re.sub(r"Documentation=.*\n", "", text))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / path.name], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if "xen-host-agent" in line] == []


def test_the_machines_go_down_while_agent_and_libvirt_are_there_and_never_with_these() -> None:
    settings = unit(GUESTS)
    after = " ".join(settings["Unit"]["After"]).split()
    assert {"xen-host-agent.service", "libvirtd.service", "libvirt-guests.service", "xendomains.service"} <= {*after}
    assert not {"BindsTo", "Requires", "PartOf", "Requisite"} & settings["Unit"].keys()
    assert settings["Service"]["ExecStart"] == ["/bin/true"]
    _, *words = settings["Service"]["ExecStop"][0].split()
    assert cli.parser().parse_args(words).action == "stop"
    # Nor does anything that the package's scripts start, stop or restart.
    for script in ("postinst", "prerm"):
        lines = (ROOT / "packaging" / "debian" / script).read_text().splitlines()
        named = [line for line in lines if GUESTS.name in line]
        assert all("disable" in line and "--now" not in line for line in named)


@pytest.mark.parametrize("name", ["xen-host-agent", "xen-host-agent-guests"])
def test_an_openrc_script_is_one_and_does_not_need_libvirt(name: str) -> None:
    script = ROOT / "openrc" / name
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
    depend = script.read_text().partition("depend() {")[2].partition("}")[0]
    assert "need" not in re.findall(r"^\t(\w+)", depend, re.MULTILINE)
    assert "libvirtd" in depend


OPENRC = """
ebegin() { :; }; eend() { return "$1"; }; after() { :; }; keyword() { echo "keyword $*"; }
. "$0"; depend; start && stop
"""
"""OpenRC, as far as the script that shuts machines down needs it."""


def test_openrc_has_machines_shut_down_and_waits_for_that() -> None:
    for command, code in (("echo", 0), ("false", 1)):
        environment = os.environ | {"XEN_HOST_AGENT_COMMAND": command}
        script = ROOT / "openrc" / "xen-host-agent-guests"
        done = subprocess.run(
            ["sh", "-c", OPENRC, script], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        waits, *words = done.stdout.splitlines()
        assert waits == "keyword -timeout"  # else what is stopped after it waits for a minute
        assert code or cli.parser().parse_args(words[0].split()).action == "stop"


@pytest.mark.parametrize(
    ("listens", "does", "healthy"),
    [
        (True, "exit 0", True),
        (True, "exit 1", True),
        (True, "exec sleep 60", False),
        (False, "exec sleep 60", True),
    ],
    ids=["answers", "refuses", "hangs", "listens elsewhere"],
)
def test_openrc_starts_an_agent_that_hangs_anew_and_no_other(
    tmp_path: Path, listens: bool, does: str, healthy: bool
) -> None:
    agent, asked = tmp_path / "agent", tmp_path / "asked"
    agent.write_text(f'#!/bin/sh\necho "$*" > {asked}\n{does}\n')
    agent.chmod(0o755)
    place = tmp_path / "socket"
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        if listens:
            listening.bind(str(place))
        environment = os.environ | {
            "XEN_HOST_AGENT_COMMAND": str(agent),
            "XEN_HOST_AGENT_SOCKET": str(place),
            "XEN_HOST_AGENT_PATIENCE": "1",
        }
        done = subprocess.run(
            ["sh", "-c", '. "$0"; ewarn() { echo "$*"; }; healthcheck', ROOT / "openrc" / "xen-host-agent"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode == 0) is healthy
    assert ("started anew" in done.stdout) is not healthy
    assert asked.exists() is listens
    if listens:
        words = cli.parser().parse_args(asked.read_text().split())
        assert (words.url, words.message) == (f"unix:{place}", "pool.get_all")


def test_the_pam_file_has_auth_and_account() -> None:
    lines = (SYSTEMD / "xen-host-agent.pam").read_text().splitlines()
    kinds = [line.split()[0] for line in lines if line and not line.startswith("#")]
    assert set(kinds) == {"auth", "account"}


@needs("systemd-sysusers")
@pytest.mark.skipif(os.geteuid() != 0, reason="not root: folders of root cannot be made")
def test_the_folders_and_the_group_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for command, name in ((["systemd-tmpfiles", "--create"], "tmpfiles"), (["systemd-sysusers"], "sysusers")):
        command += [f"--root={tmp_path}", str(SYSTEMD / f"xen-host-agent.{name}")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "var/lib/xen-host-agent").stat().st_mode & 0o777 == 0o700
    assert "xen-host-agent:" in (tmp_path / "etc/group").read_text()
